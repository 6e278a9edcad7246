//! What is shown. Answers and their sources go to standard output, everything about them to standard error: through
//! a pipe come answers alone.

use std::io::{self, IsTerminal, Write};

use super::wire::{Citation, Message};

/// Standard output and standard error.
pub(super) struct Screen {
    is_terminal: bool,
    /// The last line of the answer has no end yet.
    mid_line: bool,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { is_terminal: io::stdout().is_terminal(), mid_line: false }
    }

    /// Asks for a message.
    pub(super) fn prompt(&mut self) -> io::Result<()> {
        let mut err = io::stderr();
        write!(err, "\nyou> ")?;
        err.flush()
    }

    /// Nothing was typed at the prompt.
    pub(super) fn leave_prompt(&mut self) -> io::Result<()> {
        writeln!(io::stderr())
    }

    /// More of an answer, as soon as it comes.
    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        let mut out = io::stdout();
        out.write_all(self.harmless(text).as_bytes())?;
        out.flush()?;
        self.mid_line = !text.ends_with('\n');
        Ok(())
    }

    /// Ends the answer's last line.
    pub(super) fn end_text(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.mid_line) { writeln!(io::stdout()) } else { Ok(()) }
    }

    /// The articles that an answer rests on, each once.
    pub(super) fn sources(&mut self, citations: &[Citation]) -> io::Result<()> {
        self.end_text()?;
        for (number, source) in distinct(citations).iter().enumerate() {
            let title = if source.title.is_empty() { &source.article_id } else { &source.title };
            let line = match &source.url {
                Some(url) => format!("[{}] {title} {url}", number + 1),
                None => format!("[{}] {title}", number + 1),
            };
            writeln!(io::stdout(), "{}", self.harmless(&line))?;
        }
        Ok(())
    }

    /// Something about the chat, not of it.
    pub(super) fn note(&mut self, note: &str) -> io::Result<()> {
        let mut err = io::stderr();
        // The answer stays on its line where only answers are seen.
        if self.is_terminal && std::mem::take(&mut self.mid_line) {
            writeln!(err)?;
        }
        writeln!(err, "· {}", self.harmless(note))
    }

    /// A message of an earlier time.
    pub(super) fn earlier(&mut self, message: &Message) -> io::Result<()> {
        let who = if message.role == "customer" { "you" } else { &message.role };
        writeln!(io::stderr(), "\n{}> {}", self.harmless(who), self.harmless(&message.content))
    }

    /// Without what a terminal would obey: the text is from articles, models and people.
    fn harmless(&self, text: &str) -> String {
        if !self.is_terminal {
            return text.to_owned();
        }
        let is_shown = |character: &char| !character.is_control() || matches!(character, '\n' | '\t');
        text.chars().filter(is_shown).collect()
    }
}

fn distinct(citations: &[Citation]) -> Vec<&Citation> {
    let mut sources: Vec<&Citation> = Vec::new();
    for citation in citations {
        if sources.iter().all(|known| known.article_id != citation.article_id) {
            sources.push(citation);
        }
    }
    sources
}
