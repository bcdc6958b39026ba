//! argv → exit code.

fn main() -> std::process::ExitCode {
    retraind::cli::main()
}
