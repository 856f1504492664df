//! Where every decision of a run comes from: a seed, or a script of decisions that another run took.
//!
//! A decision is a small number, and 0 is always the dull one: go on with whoever was at work, let the call be done, let
//! nothing strange happen. A script that ends is followed by dull decisions, so that cutting a script short, or setting
//! a part of it to 0, gives a calmer run of the same kind. That is how a failing run is made short.

pub struct Choices {
    source: Source,
    taken: Vec<u32>,
}

enum Source {
    Seed(fastrand::Rng),
    Script(Vec<u32>),
}

impl Choices {
    pub fn seeded(seed: u64) -> Self {
        Self { source: Source::Seed(fastrand::Rng::with_seed(seed)), taken: Vec::new() }
    }

    /// These decisions, and then dull ones.
    pub fn scripted(script: Vec<u32>) -> Self {
        Self { source: Source::Script(script), taken: Vec::new() }
    }

    /// One of `count`, all as likely.
    pub fn below(&mut self, count: usize) -> usize {
        let count = u32::try_from(count).expect("there are never so many ways on");
        self.take(count, |rng| rng.u32(0..count))
    }

    /// Whether something strange happens, which it does once in `in_` times on average.
    pub fn once_in(&mut self, in_: u32) -> bool {
        self.take(2, |rng| u32::from(rng.u32(0..in_) == 0)) == 1
    }

    /// Every decision so far.
    pub fn taken(&self) -> &[u32] {
        &self.taken
    }

    fn take(&mut self, count: u32, draw: impl FnOnce(&mut fastrand::Rng) -> u32) -> usize {
        let choice = match &mut self.source {
            Source::Seed(rng) => draw(rng),
            Source::Script(script) => script.get(self.taken.len()).copied().unwrap_or(0).min(count - 1),
        };
        self.taken.push(choice);
        choice as usize
    }
}
