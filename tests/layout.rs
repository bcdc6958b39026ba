//! The house stays tidy: data flows one way, and files stay of a readable size.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms in the order of the `mod` lines of `lib.rs`.
fn rooms() -> Vec<String> {
    let lib = fs::read_to_string(source().join("lib.rs")).expect("lib.rs");
    lib.lines()
        .filter_map(|line| line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')))
        .map(str::to_owned)
        .collect()
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The part of a file that is compiled into the program.
fn program(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

#[test]
fn a_room_imports_only_from_rooms_above_it() {
    let rooms = rooms();
    let order: BTreeMap<&str, usize> = rooms.iter().enumerate().map(|(k, room)| (room.as_str(), k)).collect();
    let mut wrong = Vec::new();
    let mut n_imports = 0;
    for file in files(&source()) {
        let relative = file.strip_prefix(source()).expect("inside").to_owned();
        let own = relative.iter().next().expect("a name").to_string_lossy().trim_end_matches(".rs").to_owned();
        let Some(&here) = order.get(own.as_str()) else { continue };
        let text = fs::read_to_string(&file).expect("read");
        // on one line, since lists of imports are wrapped
        let code: Vec<&str> = program(&text).lines().filter(|line| !line.trim().starts_with("//")).collect();
        for rest in code.join(" ").split("crate::").skip(1) {
            // `use crate::{a, b::c};` or `crate::a::b`
            let names = rest.strip_prefix('{').map_or(rest, |list| list.split('}').next().unwrap_or(list));
            for name in names.split(',').take(if rest.starts_with('{') { usize::MAX } else { 1 }) {
                let name = name.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("");
                let Some(&there) = order.get(name) else { continue };
                n_imports += 1;
                if there > here {
                    wrong.push(format!("{}: {own} imports {name}", relative.display()));
                }
            }
        }
    }
    assert!(n_imports > 50, "only {n_imports} imports found: does this test still read them?");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_architecture_page_lists_every_room() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).expect("the page");
    let listed: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(|name| name.trim_end_matches('/').trim_end_matches(".rs"))
        .collect();
    assert_eq!(listed, rooms());
}

#[test]
fn files_are_of_a_readable_size() {
    const LINES: usize = 450;
    let long: Vec<String> = files(&source())
        .into_iter()
        .filter_map(|file| {
            let n = fs::read_to_string(&file).expect("read").lines().count();
            (n > LINES).then(|| format!("{}: {n} lines", file.display()))
        })
        .collect();
    assert!(long.is_empty(), "a second concept earns a second file: {long:#?}");
}
