//! What a solver proves of the protocol: `docs/proofs/*.smt2`. Every answer is compared with the one
//! that the file expects beside its question.

use super::repo::{files, read};
use super::{Result, StepEnd, find};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// The limit for an answer, in milliseconds; then it is `unknown`. Nearly all take less than a second.
const MOST_MILLIS: u32 = 20_000;

/// The limit for a file, in seconds.
const MOST_SECONDS: u32 = 200;

/// One `(check-sat)`.
#[derive(Debug, PartialEq, Eq)]
struct Question<'a> {
    line: usize,
    /// The last text that was echoed before it.
    claim: &'a str,
    expected: &'a str,
}

/// Every question of every file has the expected answer.
pub(super) fn have_the_expected_answers(root: &Path) -> Result {
    let Some(z3) = find("z3") else {
        return Err("`z3` is missing: sudo apt-get install z3".to_owned());
    };
    let files = files(root, &["smt2"])?;
    if files.is_empty() {
        return Err("there is no file *.smt2: docs/proofs should have some".to_owned());
    }
    let mut wrong = Vec::new();
    for path in &files {
        let name = path.display();
        let text = read(root, path)?;
        let questions = questions(&text).map_err(|why| format!("{name}: {why}"))?;
        let start = Instant::now();
        let output = Command::new(&z3)
            .arg(format!("-t:{MOST_MILLIS}"))
            .arg(format!("-T:{MOST_SECONDS}"))
            .arg(path)
            .current_dir(root)
            .output()
            .map_err(|e| format!("z3 can't be started: {e}"))?;
        let output = String::from_utf8_lossy(&output.stdout);
        let took = start.elapsed().as_secs_f64();
        println!("{name}: {} answers in {took:.1} s", questions.len());
        wrong.extend(
            differences(&questions, &output)
                .into_iter()
                .map(|why| format!("{name}: {why}")),
        );
    }
    if wrong.is_empty() {
        Ok(StepEnd::Passed)
    } else {
        Err(wrong.join("\n"))
    }
}

/// The questions of a file, in order.
fn questions(text: &str) -> std::result::Result<Vec<Question<'_>>, String> {
    let mut claim = "";
    let mut all = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let (code, comment) = text.split_once(';').unwrap_or((text, ""));
        if let Some(echoed) = text
            .strip_prefix("(echo \"")
            .and_then(|t| t.strip_suffix("\")"))
        {
            claim = echoed;
        } else if code.contains("(check-sat") {
            let expected = comment.trim().strip_prefix("expect: ").unwrap_or("");
            if code.trim() != "(check-sat)" || !["sat", "unsat"].contains(&expected) {
                return Err(format!(
                    "line {line}: must read `(check-sat) ; expect: unsat`, or `sat`"
                ));
            }
            all.push(Question {
                line,
                claim,
                expected,
            });
        }
    }
    if all.is_empty() {
        return Err("asks nothing".to_owned());
    }
    Ok(all)
}

/// Where the solver's output is not as expected.
fn differences(questions: &[Question<'_>], output: &str) -> Vec<String> {
    let mut wrong: Vec<String> = output
        .lines()
        .filter(|l| l.starts_with("(error"))
        .map(str::to_owned)
        .collect();
    let mut answers = output
        .lines()
        .filter(|l| ["sat", "unsat", "unknown", "timeout"].contains(l));
    for q in questions {
        let answer = answers.next().unwrap_or("no answer");
        if answer != q.expected {
            wrong.push(format!(
                "line {}: {answer}, not {}: {}",
                q.line, q.expected, q.claim
            ));
        }
    }
    if answers.next().is_some() {
        wrong.push("more answers than questions".to_owned());
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "(echo \"one\")\n(check-sat) ; expect: unsat\n(echo \"two\")\n(check-sat) ; expect: sat\n";

    #[test]
    fn questions_are_found_and_answers_compared() {
        let asked = questions(TEXT).unwrap();
        assert_eq!(asked[1].claim, "two");
        assert_eq!(asked[1].line, 4);
        assert!(differences(&asked, "one\nunsat\ntwo\nsat\n((x 1))\n").is_empty());
        let swapped = differences(&asked, "one\nsat\ntwo\nunsat\n");
        assert_eq!(swapped[0], "line 2: sat, not unsat: one");
        assert_eq!(swapped.len(), 2);
    }

    #[test]
    fn what_is_not_an_answer_is_not_taken_for_one() {
        let asked = questions(TEXT).unwrap();
        for output in [
            "",
            "one\nunsat\n",
            "one\nunsat\ntwo\nunknown\n",
            "one\nunsat\ntwo\nsat\n(error \"x\")\n",
            "one\nunsat\ntimeout\n",
            "one\nunsat\ntwo\nsat\nsat\n",
        ] {
            assert!(!differences(&asked, output).is_empty(), "{output}");
        }
        assert!(questions("(check-sat)\n").is_err(), "nothing is expected");
        assert!(questions("(check-sat) ; expect: unknown\n").is_err());
        assert!(
            questions("; (check-sat)\n").is_err(),
            "a comment asks nothing"
        );
    }
}
