//! How things stand at this moment.

use std::{collections::BTreeMap, io::Write, time::SystemTime};

use super::Pipeline;
use crate::{
    survey::{EnabledBlocks, Survey},
    view::View,
};

impl<W: Write> Pipeline<W> {
    pub(super) fn view(&mut self) -> View {
        let survey = Survey::take(&self.options.paths, EnabledBlocks::Skip, &self.guard.policy().thresholds);
        View {
            now: SystemTime::now(),
            status: self.status(),
            survey: survey.map_err(|error| format!("{error:#}")),
            max_struct_page_size: self.kernel.max_struct_page(),
            programs: Vec::new(),
            runs: Vec::new(),
            events: BTreeMap::new(),
            last_events: Vec::new(),
            regressions: self.baseline.standing(),
            journal: self.journal.health(),
            alerts: self.alerts.deliveries(),
        }
    }
}
