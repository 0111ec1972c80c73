//! `ringmq top`: looks again and again, and redraws the screen.
//!
//! Plain ANSI sequences: the cursor home, each line cleared to its end, the rest of the screen cleared. Ctrl-C ends it as
//! any program. On failure of a look: the reason is on the screen, and it goes on trying; with `--once` it is the error.

use std::io::{IsTerminal, Write};

use anyhow::{Result, bail};
use ringmq_broker::admin::document::Document;

use crate::{TopArgs, fetch, screen};

/// Where the terminal does not say.
const ROWS: usize = 40;

pub fn run(args: &TopArgs) -> Result<()> {
    let address = &args.address.admin;
    let mut before = fetch::document(address)?;
    if args.once {
        std::thread::sleep(args.interval);
        let now = fetch::document(address)?;
        print!("{}", screen::draw(&before, &now, ROWS));
        return Ok(());
    }
    let mut out = std::io::stdout();
    if !out.is_terminal() {
        bail!("standard output is no terminal; --once prints one screen as text");
    }
    write!(out, "\x1b[2J")?;
    loop {
        std::thread::sleep(args.interval);
        let text = match fetch::document(address) {
            Ok(now) => {
                let text = screen::draw(&before, &now, rows());
                before = now;
                text
            }
            Err(error) => {
                before = Document::default();
                format!("{error:#}\ntrying again\n")
            }
        };
        let mut frame = String::from("\x1b[H");
        for line in text.lines().take(rows().saturating_sub(1)) {
            frame += line;
            frame += "\x1b[K\n";
        }
        frame += "\x1b[J";
        out.write_all(frame.as_bytes())?;
        out.flush()?;
    }
}

/// As the shell says it; a terminal that is made larger shows more from the next start on.
fn rows() -> usize {
    std::env::var("LINES").ok().and_then(|rows| rows.parse().ok()).unwrap_or(ROWS)
}
