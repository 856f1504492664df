use super::*;
use std::collections::VecDeque;

const REST: Duration = Duration::from_secs(1);

/// What happens to a host, and when, in milliseconds since the start.
enum Step {
    /// A call ends so.
    Ends(End),
    /// A call is let through.
    Goes,
    /// A call has to wait for so many milliseconds.
    Waits(u64),
}

#[track_caller]
fn check(name: &str, steps: &[(u64, Step)]) {
    let start = Instant::now();
    let mut health = Some(Health::default());
    for (index, (at, step)) in steps.iter().enumerate() {
        let now = start + Duration::from_millis(*at);
        match step {
            Step::Ends(end) => health = health.unwrap_or_default().after(*end, now, REST),
            Step::Goes => {
                assert_eq!(health.as_mut().map_or(Ok(()), |it| it.admit(now, REST)), Ok(()), "{name} {index}")
            }
            Step::Waits(left) => {
                let refused = health.as_mut().and_then(|it| it.admit(now, REST).err());
                assert_eq!(refused, Some(Duration::from_millis(*left)), "{name} {index}");
            }
        }
    }
}

#[test]
fn a_host_is_left_alone_and_probed() {
    use End::{Asked, Failed, Well};
    use Step::{Ends, Goes, Waits};
    let failing = || (0..FAILURES_MAX).map(|_| (0, Ends(Failed)));
    let after = |steps: Vec<(u64, Step)>| failing().chain(steps).collect::<Vec<_>>();
    check("few failures", &[(0, Ends(Failed)), (0, Ends(Failed)), (0, Goes), (0, Goes)]);
    check("opens", &after(vec![(0, Waits(1000)), (400, Waits(600)), (999, Waits(1))]));
    check("one probe", &after(vec![(1000, Goes), (1000, Waits(1000)), (1500, Waits(500))]));
    check("a good probe", &after(vec![(1000, Goes), (1100, Ends(Well)), (1100, Goes), (1100, Goes)]));
    check("a bad probe", &after(vec![(1000, Goes), (1500, Ends(Failed)), (1500, Waits(1000)), (2500, Goes)]));
    check("a lost probe", &after(vec![(1000, Goes), (1999, Waits(1)), (2000, Goes)]));
    check("a late success", &after(vec![(500, Ends(Well)), (500, Goes)]));
    check("a late failure", &after(vec![(500, Ends(Failed)), (500, Waits(1000))]));
    let interrupted = failing().skip(1).chain([(0, Ends(Well)), (0, Ends(Failed)), (0, Goes)]);
    check("not in a row", &interrupted.collect::<Vec<_>>());
    let seconds = |seconds| Asked(Duration::from_secs(seconds));
    check("asked once", &[(0, Ends(seconds(7))), (0, Waits(7000)), (7000, Goes), (7000, Waits(1000))]);
    check("asked for nothing", &[(0, Ends(seconds(0))), (0, Waits(1000))]);
    check("asked, then failed", &[(0, Ends(seconds(7))), (100, Ends(Failed)), (100, Waits(6900))]);
}

#[test]
fn answers_tell_of_health() {
    let answer = |status: u16, headers: &[(&'static str, &str)]| {
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        Ok(answer.body(Bytes::new()).expect("it is an answer"))
    };
    let quick = Duration::from_millis(100);
    let asked = |seconds| End::Asked(Duration::from_secs(seconds));
    for (answer, took, end) in [
        (answer(200, &[]), quick, End::Well),
        (answer(200, &[]), Duration::from_secs(SLOW_SECONDS), End::Failed),
        (answer(402, &[]), quick, End::Well),
        (answer(404, &[("retry-after", "5")]), quick, End::Well),
        (answer(429, &[]), quick, End::Failed),
        (answer(429, &[("retry-after", "5")]), quick, asked(5)),
        (answer(429, &[("retry-after", "86400")]), quick, asked(ASKED_REST_SECONDS_MAX)),
        (answer(429, &[("retry-after", "Mon, 01 Mar 2027 12:00:00 GMT")]), quick, End::Failed),
        (answer(500, &[]), quick, End::Failed),
        (answer(500, &[("idempotent-replayed", "true")]), quick, End::Well),
        (answer(503, &[("retry-after", "2")]), quick, asked(2)),
        (Err(NoAnswer("refused".into())), quick, End::Failed),
    ] {
        assert_eq!(end_of(&answer, took, false), end, "{answer:?}");
    }
    for (answer, end) in [
        (answer(429, &[("retry-after", "5")]), End::Well),
        (answer(429, &[]), End::Well),
        (answer(503, &[("retry-after", "2")]), asked(2)),
        (answer(500, &[]), End::Failed),
    ] {
        assert_eq!(end_of(&answer, quick, true), end, "about one target: {answer:?}");
    }
}

/// Answers with these statuses; 0 is no answer.
struct Script(Mutex<VecDeque<u16>>);

impl Transport for Script {
    fn send(&self, _: Request<Bytes>, _: Duration) -> Answer<'_> {
        let next = self.0.lock().expect("no panic holds this lock").pop_front().expect("this was not to be asked");
        Box::pin(std::future::ready(match next {
            0 => Err(NoAnswer("nothing".into())),
            status => Ok(Response::builder().status(status).body(Bytes::new()).expect("it is an answer")),
        }))
    }
}

#[tokio::test]
async fn calls_to_a_host_that_fails_do_not_wait() {
    let script = [0, 500, 503, 0, 429, 200, 200];
    let breaker = Breaker::new(Arc::new(Script(Mutex::new(script.into()))), Rng::seeded(1));
    let ask = async || {
        let request = Request::builder().uri("https://pay.example/v1").body(Bytes::new()).expect("it is a request");
        breaker.send(request, Duration::from_secs(6)).await
    };
    let rest = |text: &'static str| breaker.rest(&Uri::from_static(text));
    for _ in 0..FAILURES_MAX {
        assert_eq!(rest("https://pay.example/"), None);
        // How each of them ends is what the script says.
        let _ = ask().await;
    }
    let left = rest("https://pay.example/").expect("it is left alone");
    assert!((900..=2_000).contains(&left.as_millis()), "{left:?}");
    assert_eq!(rest("https://other.example/"), None, "each host for itself");
    assert!(ask().await.is_err_and(|error| error.0.contains("was not asked")));
    tokio::time::sleep(left).await;
    assert!(ask().await.is_ok(), "one call is let through");
    assert_eq!(rest("https://pay.example/"), None, "it is well");
    assert!(ask().await.is_ok());
}

#[tokio::test]
async fn too_much_for_one_target_stops_no_other() {
    let breaker = Breaker::new(Arc::new(Script(Mutex::new([429; 8].into()))), Rng::seeded(1));
    for _ in 0..=FAILURES_MAX {
        let request = Request::builder().uri("https://chat.example/").extension(PerTarget).body(Bytes::new());
        let answer = breaker.send(request.expect("it is a request"), Duration::from_secs(6)).await;
        assert!(answer.is_ok_and(|answer| answer.status() == 429));
        assert_eq!(breaker.rest(&Uri::from_static("https://chat.example/")), None);
    }
}
