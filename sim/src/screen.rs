//! What a command prints: lines that stay, and the progress line that the next one replaces.

use std::io::{IsTerminal, Write as _, stdout};

/// Whether the terminal knows no colours and moves no cursor, as it says.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Whether what is printed may be coloured.
pub(crate) fn colours() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    stdout().is_terminal() && !is_dumb() && !unwanted
}

/// The terminal, or whatever stands in for it.
pub struct Screen {
    terminal: bool,
    colours: bool,
    frame: usize,
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

impl Screen {
    /// Standard output: live on a terminal, plain lines elsewhere.
    #[must_use]
    pub fn new() -> Self {
        Self {
            terminal: stdout().is_terminal() && !is_dumb(),
            colours: colours(),
            frame: 0,
        }
    }

    pub(crate) fn paint(&self, code: &str, text: &str) -> String {
        match self.colours {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    /// A line that stays.
    pub fn line(&mut self, text: &str) {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        println!("{clear}{text}");
        let _ = stdout().flush();
    }

    /// A line that the next one replaces; not shown where there is no terminal.
    pub fn passing(&mut self, text: &str) {
        const SPINNER: [&str; 8] = ["⠋", "⠙", "⠸", "⠴", "⠦", "⠧", "⠇", "⠏"];
        if self.terminal {
            self.frame = (self.frame + 1) % SPINNER.len();
            let spinner = self.paint("36", SPINNER[self.frame]);
            print!("\r\x1b[K {spinner} {text}");
            let _ = stdout().flush();
        }
    }

    /// Removes the passing line.
    pub fn clear(&mut self) {
        if self.terminal {
            print!("\r\x1b[K");
            let _ = stdout().flush();
        }
    }
}
