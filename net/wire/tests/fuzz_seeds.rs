//! Runs the checks of the fuzz targets on the seeds that are checked in, and on every cut and every flipped bit of the
//! smaller ones: a part of what the fuzzer does, with every `cargo test`.

#[path = "../fuzz/src/lib.rs"]
mod checks;

use std::fs;
use std::path::{Path, PathBuf};

/// Seeds that are longer are only run as they are, and cut off: flipping each bit would take too long.
const FLIPPED_BYTES_MAX: usize = 300;

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

#[test]
fn seeds_and_their_neighbours_keep_every_promise() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (target, check) in checks::TARGETS {
        let seeds = files(&root.join("fuzz/seeds").join(target));
        assert!(seeds.len() >= 3, "{target} has {} seeds", seeds.len());
        for seed in seeds {
            let mut bytes = fs::read(&seed).unwrap();
            println!("{}", seed.display());
            check(&bytes);
            for end in 0..bytes.len().min(FLIPPED_BYTES_MAX) {
                check(&bytes[..end]);
            }
            if bytes.len() <= FLIPPED_BYTES_MAX {
                for bit in 0..bytes.len() * 8 {
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    check(&bytes);
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
            }
        }
    }
}

/// What official clients and brokers have sent.
#[test]
fn captured_frames_keep_every_promise() {
    let golden = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"));
    let frames = golden.iter().filter(|path| path.extension().is_some_and(|end| end == "bin"));
    let mut count = 0;
    for path in frames {
        let bytes = fs::read(path).unwrap();
        println!("{}", path.display());
        checks::command::check(&bytes);
        checks::cut::check(&[&[count as u8], &bytes[..]].concat());
        count += 1;
    }
    assert!(count > 20, "only {count} captured frames");
}
