//! The documents for users are correct: every command in them is run, and its output is compared with the page.

use anyhow::Result;
use guest::documents::story::run;

#[test]
fn compatibility() -> Result<()> {
    run("docs/compatibility.md", false)
}

#[test]
fn first_run() -> Result<()> {
    run("docs/first-run.md", false)
}

#[test]
fn predict_and_plan() -> Result<()> {
    run("docs/predict-and-plan.md", false)
}

#[test]
fn troubleshooting() -> Result<()> {
    run("docs/troubleshooting.md", false)
}

/// The pages for a kernel with the regression.
mod regressed {
    use super::*;

    #[test]
    fn guard() -> Result<()> {
        run("docs/guard.md", true)
    }

    #[test]
    fn predict_and_plan() -> Result<()> {
        run("docs/predict-and-plan.md", true)
    }

    #[test]
    fn readme() -> Result<()> {
        run("README.md", true)
    }

    #[test]
    fn verdicts() -> Result<()> {
        run("docs/verdicts.md", true)
    }
}
