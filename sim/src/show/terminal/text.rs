//! Text made fit for where it goes.

/// A space at which no line is broken; it is drawn as any other.
pub(super) const TIE: char = '\u{a0}';

/// One line of what can be printed: a control character would move a terminal's cursor.
pub(super) fn clean(text: &str) -> String {
    let plain = |c| if c == TIE { ' ' } else { printable(c) };
    text.chars().map(plain).collect()
}

fn printable(c: char) -> char {
    match c {
        '\t' | '\n' | '\r' => ' ',
        c if c.is_control() => '\u{fffd}',
        // Marks that change the direction of what follows them.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        c => c,
    }
}

/// Lines of at most `width` characters, broken between words where there are any; at least one.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    let text: String = text.chars().map(printable).collect();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        for (nth, piece) in pieces(word, width.max(1)).into_iter().enumerate() {
            let long = piece.chars().count();
            if used > 0 && (nth > 0 || used + 1 + long > width) {
                lines.push(String::new());
                used = 0;
            }
            if let Some(line) = lines.last_mut() {
                if used > 0 {
                    line.push(' ');
                    used += 1;
                }
                line.push_str(&clean(&piece));
                used += long;
            }
        }
    }
    lines
}

/// A word, in pieces that fit.
fn pieces(word: &str, width: usize) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    letters.chunks(width).map(String::from_iter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_whole_where_they_fit() {
        assert_eq!(wrap("asks ready vote=a@3", 10), ["asks ready", "vote=a@3"]);
        assert_eq!(wrap("abcdefg hi", 3), ["abc", "def", "g", "hi"]);
        assert_eq!(wrap("lease 4\u{a0}i", 8), ["lease", "4 i"]);
        assert_eq!(wrap("", 3), [""]);
    }

    #[test]
    fn no_control_character_is_printed() {
        assert_eq!(clean("\x1b[2J\nb\u{202e}"), "\u{fffd}[2J b\u{fffd}");
    }
}
