//! `docs/scan.svg`: the scan that README.md shows, which a guest has run, as a picture for light and dark pages.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::paths;

pub(crate) const FILE: &str = "docs/scan.svg";
pub(crate) const README: &str = "README.md";
const COMMAND: &str = "# pfnwatch scan";

const CHAR_WIDTH: f64 = 7.83;
const LINE_HEIGHT: usize = 18;
const MARGIN: usize = 14;
/// The font's width differs from one machine to the next: each line is stretched to its columns.
const STYLE: &str = "text{font:13px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;white-space:pre;fill:#1f2328}\
    .page{fill:#f6f8fa}.bad{fill:#b42318;font-weight:600}.dim{fill:#59636e}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#161b22}.bad{fill:#ff7b72}.dim{fill:#9198a1}}";

pub(crate) fn write() -> Result<()> {
    let root = paths::root();
    let readme = fs::read_to_string(root.join(README))?;
    let svg = of_readme(&readme).with_context(|| format!("{README} shows no `{COMMAND}`"))?;
    fs::write(root.join(FILE), svg)?;
    Ok(())
}

/// The picture; `None` without the command.
pub(crate) fn of_readme(readme: &str) -> Option<String> {
    let output = readme.lines().skip_while(|line| *line != COMMAND).skip(1);
    let output: Vec<_> = output.take_while(|line| !line.starts_with("# ") && !line.starts_with("```")).collect();
    let lines: Vec<_> = std::iter::once("$ sudo pfnwatch scan").chain(output).collect();
    (lines.len() > 1).then(|| svg(&lines))
}

fn svg(lines: &[&str]) -> String {
    let columns = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let (width, height) = (length(columns) + 2.0 * length(2), lines.len() * LINE_HEIGHT + 2 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height}\" width=\"{width:.0}\" height=\"{height}\" \
         role=\"img\" aria-label=\"Output of pfnwatch scan\">\n<style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"100%\" height=\"100%\" rx=\"8\"/>\n"
    );
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
        let text = line.replace('&', "&amp;").replace('<', "&lt;");
        let y = MARGIN + (index + 1) * LINE_HEIGHT - 5;
        let length = length(line.chars().count());
        // Writing to a string does not fail.
        let _ = writeln!(
            svg,
            "<text x=\"{MARGIN}\" y=\"{y}\" textLength=\"{length:.0}\" xml:space=\"preserve\"{}>{text}</text>",
            class(line)
        );
    }
    svg + "</svg>\n"
}

fn length(columns: usize) -> f64 {
    f64::from(u32::try_from(columns).unwrap_or(u32::MAX)) * CHAR_WIDTH
}

fn class(line: &str) -> &'static str {
    if line.contains("OVERSIZE") || line.ends_with("too much") {
        " class=\"bad\""
    } else if line.starts_with("▒ memmap") || line.starts_with('$') {
        " class=\"dim\""
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_of_the_command_alone_is_drawn() {
        let readme = "```console\n# a\nx\n# pfnwatch scan\n N  VERDICT\n a  OVERSIZE <&\n\n# b\ny\n```\n";
        let svg = of_readme(readme).unwrap();
        assert!(
            svg.contains(">$ sudo pfnwatch scan</text>")
                && svg.contains(" class=\"bad\"> a  OVERSIZE &lt;&amp;</text>"),
            "{svg}"
        );
        assert!(!svg.contains(">x<") && !svg.contains(">y<"), "{svg}");
        assert_eq!(of_readme("# pfnwatch scans\n"), None);
    }
}
