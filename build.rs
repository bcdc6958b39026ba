//! A migration that is added is compiled in: the macro that reads the directory does not watch it.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
