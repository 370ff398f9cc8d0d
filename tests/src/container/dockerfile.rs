//! As much of a Dockerfile as the one that is given away has.

use anyhow::{Context, Result, bail};

#[derive(Debug, Default)]
pub(super) struct Dockerfile {
    pub(super) base: String,
    pub(super) copies: Vec<(String, String)>,
    pub(super) user: (u32, u32),
    /// The program with its first arguments; a pod's arguments follow.
    pub(super) entrypoint: Vec<String>,
}

impl Dockerfile {
    /// An unsupported instruction is an error: it might matter.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut file = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (instruction, rest) = line.split_once(' ').with_context(|| format!("no instruction: {line}"))?;
            match instruction {
                "FROM" => rest.clone_into(&mut file.base),
                "COPY" => {
                    let (from, to) = rest.split_once(' ').with_context(|| format!("no copy of one file: {line}"))?;
                    file.copies.push((from.to_owned(), to.to_owned()));
                }
                "USER" => {
                    let numbers = rest.split_once(':').with_context(|| format!("no numbers: {line}"))?;
                    file.user = (numbers.0.parse()?, numbers.1.parse()?);
                }
                "ENTRYPOINT" => file.entrypoint = serde_json::from_str(rest)?,
                // A word to people; and what a pod with arguments of its own does not take.
                "EXPOSE" | "CMD" => {}
                _ => bail!("an instruction that the test does not know: {line}"),
            }
        }
        Ok(file)
    }
}
