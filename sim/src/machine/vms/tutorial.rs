//! The tutorial's text, as something to be done: what a reader would type and write is taken from
//! the book itself, so the book can't say something else than what was tried.

use crate::error::{Result, err};

const TEXT: &str = include_str!("../../../../docs/src/tutorial.md");

/// A section of the tutorial.
#[derive(Clone, Debug)]
pub(super) struct Section {
    title: String,
    blocks: Vec<(String, String)>,
}

/// The section whose title has this word.
pub(super) fn section(word: &str) -> Result<Section> {
    let mut sections = TEXT.split("\n## ").skip(1).map(Section::read);
    let found = sections.find(|section| section.title.contains(word));
    found.ok_or_else(|| err(format!("the tutorial has no section about `{word}`")))
}

impl Section {
    fn read(text: &str) -> Self {
        let (title, rest) = text.split_once('\n').unwrap_or((text, ""));
        let fenced = rest.split("```").skip(1).step_by(2);
        let blocks = fenced.filter_map(|block| {
            let (language, text) = block.split_once('\n')?;
            Some((language.trim().to_owned(), text.to_owned()))
        });
        Self {
            title: title.to_owned(),
            blocks: blocks.collect(),
        }
    }

    /// The commands for root, in order.
    pub(super) fn commands(&self) -> Vec<String> {
        let console = self
            .blocks
            .iter()
            .filter(|(language, _)| language == "console");
        let lines = console.flat_map(|(_, text)| text.lines());
        lines
            .filter_map(|line| line.strip_prefix("# "))
            .map(|line| {
                line.split("   #")
                    .next()
                    .unwrap_or(line)
                    .trim_end()
                    .to_owned()
            })
            .collect()
    }

    /// The text of its first block in this language.
    pub(super) fn block(&self, language: &str) -> Result<&str> {
        let mut blocks = self.blocks.iter();
        let found = blocks.find(|(of, _)| of == language);
        let missing = || {
            err(format!(
                "the tutorial's section `{}` has no {language} block",
                self.title
            ))
        };
        found.map(|(_, text)| text.as_str()).ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tutorial_says_what_is_to_be_done() {
        let secret = section("secret").unwrap().commands();
        assert!(secret.iter().any(|c| c == "onehold secret"), "{secret:?}");
        let start = section("Start").unwrap().commands();
        assert!(
            start.contains(&"systemctl enable --now onehold".to_owned()),
            "{start:?}"
        );
        let stop = section("Never two").unwrap().commands();
        assert!(
            stop.contains(&"systemctl stop onehold".to_owned()),
            "{stop:?}"
        );
        let file = section("One file").unwrap();
        assert!(file.block("toml").unwrap().starts_with("[cluster]\n"));
        assert!(section("weather").is_err());
    }
}
