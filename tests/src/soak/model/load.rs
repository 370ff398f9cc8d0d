//! libnvdimm is loaded anew: all that has a block is enabled by the kernel, partly before anybody can look.

use super::super::expected::{AGENT, Expected};
use super::{Model, Observer, facts, of};

impl Model {
    /// libnvdimm was reloaded: each namespace with a block is enabled now, by the kernel, partly before anybody could
    /// observe it.
    pub fn libnvdimm_reloaded(&mut self) {
        let all: Vec<String> = self.namespaces.keys().cloned().collect();
        all.iter().for_each(|uuid| self.disabled(uuid));
        match self.watch {
            Observer::Agent => {
                self.expect(AGENT, facts::agent("blind"));
                self.streams.expect(AGENT, Expected::optional(facts::ready("idle")));
                self.expect(AGENT, facts::ready("observing"));
            }
            Observer::Held { .. } => {
                // Whether a probe was still there when the namespace went is the kernel's affair.
                self.later.iter_mut().filter(|(_, it)| it.is("unbind")).for_each(|(_, it)| it.surely = false);
                self.watch = Observer::Held { deaf: true };
            }
            Observer::Nobody => (),
        }
        let watched = self.watch == Observer::Agent;
        for (uuid, namespace) in &mut self.namespaces {
            namespace.enabled = true;
            if watched {
                let met = facts::set_up(&namespace.target, &namespace.block_uuid, "existing");
                let found = facts::found(&namespace.target, &namespace.block_uuid);
                let surely = !namespace.told && namespace.target.shape.is_map_dev();
                self.streams.expect(&of(uuid), Expected { one_of: vec![met.clone(), found], surely });
                self.streams.expect(&of(uuid), Expected::optional(met));
                namespace.told |= surely;
            }
        }
    }
}
