//! The blocks of a page and their commands.

use std::ops::Range;

/// The word behind `console` of a block for a kernel with the regression.
pub const REGRESSED: &str = "regressed";
/// The word of a block that is run beside a simulated fleet: pfnwatch/tests/fleet/walkthrough.rs runs it.
pub const FLEET: &str = "fleet";
/// The prompts: root's, and that of a user without privileges.
const PROMPTS: [(&str, User); 2] = [("# ", User::Root), ("$ ", User::Nobody)];
/// The shell's prompt for the rest of a command.
const MORE: &str = "> ";

#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The line of its opening fence, from 1.
    pub line: usize,
    pub language: String,
    pub words: Vec<String>,
    pub body: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum User {
    Root,
    Nobody,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    pub user: User,
    pub text: String,
    /// The lines of its output in the page, numbered from 1.
    pub lines: Range<usize>,
    pub output: Vec<String>,
}

pub fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut open) = (Vec::new(), None::<Block>);
    for (index, line) in page.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (open.as_mut(), fence) {
            (None, Some(words)) => {
                let mut words = words.split_whitespace().map(str::to_owned);
                let language = words.next().unwrap_or_default();
                open = Some(Block { line: index + 1, language, words: words.collect(), body: Vec::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.body.push(line.to_owned()),
            (None, None) => (),
        }
    }
    blocks
}

impl Block {
    /// The commands of a `console` block. Text before the first is no output: see [`Self::begins_with_a_command`].
    pub fn commands(&self) -> Vec<Command> {
        let mut commands = Vec::<Command>::new();
        for (number, line) in (self.line + 1..).zip(&self.body) {
            if let Some((user, text)) = typed(line) {
                let lines = number + 1..number + 1;
                commands.push(Command { user, text: text.to_owned(), lines, output: Vec::new() });
            } else if let Some(command) = commands.last_mut() {
                command.lines.end = number + 1;
                match line.strip_prefix(MORE).filter(|_| command.output.is_empty()) {
                    Some(more) => {
                        command.text += "\n";
                        command.text += more;
                        command.lines.start = number + 1;
                    }
                    None => command.output.push(line.clone()),
                }
            }
        }
        commands
    }

    pub fn begins_with_a_command(&self) -> bool {
        self.body.first().is_some_and(|line| typed(line).is_some())
    }

    pub fn is_of_a_fleet(&self) -> bool {
        self.words.iter().any(|word| word == FLEET)
    }

    /// Whether it is run on this kind of kernel.
    pub fn is_for(&self, regressed: bool) -> bool {
        let has = |wanted: &str| self.words.iter().any(|word| word == wanted);
        has(REGRESSED) == regressed && !self.is_of_a_fleet()
    }
}

pub fn typed(line: &str) -> Option<(User, &str)> {
    PROMPTS.iter().find_map(|(prompt, user)| Some((*user, line.strip_prefix(prompt)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str =
        "Text\n```console regressed\n# one \\\n> more\nfirst\n\nagain\n$ two\n```\n```toml /etc/a\n# a = 1\n```\n";

    #[test]
    fn blocks_with_their_words() {
        let found = blocks(PAGE);
        let heads: Vec<_> = found.iter().map(|block| (block.line, block.language.as_str(), block.body.len())).collect();
        assert_eq!(heads, [(2, "console", 6), (10, "toml", 1)]);
        assert!(found[0].is_for(true) && !found[0].is_for(false) && found[1].is_for(false));
        assert_eq!(found[1].words, ["/etc/a"]);
    }

    #[test]
    fn commands_with_their_output() {
        let commands = blocks(PAGE)[0].commands();
        let output = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let one = Command {
            user: User::Root,
            text: "one \\\nmore".into(),
            lines: 5..8,
            output: output(&["first", "", "again"]),
        };
        assert_eq!(
            commands,
            [one, Command { user: User::Nobody, text: "two".into(), lines: 9..9, output: output(&[]) }]
        );
    }
}
