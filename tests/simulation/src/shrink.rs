//! A failing run made short: decisions are cut off and made dull for as long as the run still fails.

use crate::choices::Choices;
use crate::mutants::Mutant;
use crate::run::{Cast, Ground, Report, plan_of};

/// Runs that are spent on making one short.
const RUNS_MAX: usize = 600;

/// The shortest failing run that was found near a seed's, and how many runs it took.
pub fn shorten(ground: &Ground, seed: u64, mutant: Option<&'static Mutant>, first: Report) -> (Report, usize) {
    let mut search = Search { ground, seed, mutant, best: first, runs: 0 };
    search.cut();
    let mut size = search.best.script.len().next_power_of_two() / 2;
    while size > 0 && search.runs < RUNS_MAX {
        let mut at = 0;
        while at < search.best.script.len() && search.runs < RUNS_MAX {
            let mut script = search.best.script.clone();
            let end = (at + size).min(script.len());
            if script[at..end].iter().any(|choice| *choice != 0) {
                script[at..end].fill(0);
                search.try_script(script);
            }
            at += size;
        }
        size /= 2;
    }
    search.cut();
    (search.best, search.runs)
}

struct Search<'a> {
    ground: &'a Ground,
    seed: u64,
    mutant: Option<&'static Mutant>,
    best: Report,
    runs: usize,
}

impl Search<'_> {
    /// Looks for the shortest beginning after which everything may be dull.
    fn cut(&mut self) {
        let (mut fails, mut holds) = (self.best.script.len(), 0);
        while holds + 1 < fails && self.runs < RUNS_MAX {
            let middle = (holds + fails) / 2;
            let script = self.best.script[..middle.min(self.best.script.len())].to_vec();
            if self.try_script(script) { fails = middle } else { holds = middle }
        }
    }

    /// Whether a script fails, and it is then the best one.
    fn try_script(&mut self, script: Vec<u32>) -> bool {
        self.runs += 1;
        let choices = Choices::scripted(script.clone());
        let report = self.ground.run(Cast::Anybody, self.seed, choices, plan_of(self.seed), self.mutant);
        let fails = !report.wrong.is_empty();
        if fails && report.trace.len() <= self.best.trace.len() {
            let length = script.iter().rposition(|choice| *choice != 0).map_or(0, |last| last + 1);
            self.best = Report { script: script[..length].to_vec(), ..report };
        }
        fails
    }
}
