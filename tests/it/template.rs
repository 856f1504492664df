//! `template.yaml` against the code, and `openapi.json` against both.

use boxoffice::template::{System, TEMPLATE, Trigger};
use functions::{FUNCTIONS, Trigger as Kind};
use platform::App;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tests::TestApp;

/// Everything in which a template and the functions do not agree; empty is good.
fn check(template: &str, app: &App) -> Vec<String> {
    let parameters = ["PublicUrl", "StripePublishableKey"].map(|name| (name.to_owned(), "x".to_owned()));
    let system = match System::parse(template, &BTreeMap::from(parameters)) {
        Ok(system) => system,
        Err(error) => return vec![error.to_string()],
    };
    let mut faults = Vec::new();
    for function in &system.functions {
        let Some(code) = functions::find(&function.handler) else {
            faults.push(format!("{}: there is no function {}", function.id, function.handler));
            continue;
        };
        if function.triggers.is_empty() {
            faults.push(format!("nothing starts {}", function.handler));
        }
        for trigger in &function.triggers {
            let fits = matches!(
                (trigger, &code.trigger),
                (Trigger::Http(_), Kind::Http(_))
                    | (Trigger::Queue(_), Kind::Queue(_))
                    | (Trigger::Stream(_), Kind::Stream(_))
                    | (Trigger::Schedule(_), Kind::Schedule(_))
            );
            if !fits {
                faults.push(format!("{} does not take {trigger:?}", function.handler));
            }
        }
    }
    for function in FUNCTIONS {
        let entries = system.functions.iter().filter(|entry| entry.handler == function.name);
        let given = entries.flat_map(|entry| &entry.triggers).filter_map(|trigger| match trigger {
            Trigger::Http(route) => Some(format!("{} {}", route.method, route.path)),
            _ => None,
        });
        let given: BTreeSet<String> = given.collect();
        if !system.functions.iter().any(|entry| entry.handler == function.name) {
            faults.push(format!("{} is not in the template", function.name));
        }
        let written = match function.trigger {
            Kind::Http(routes) => {
                described(&serde_json::to_value(routes(app.clone()).into_openapi()).expect("it is JSON"))
            }
            _ => BTreeSet::new(),
        };
        faults.extend(
            written.difference(&given).map(|route| format!("{}: {route} is not in the template", function.name)),
        );
        faults.extend(
            given.difference(&written).map(|route| format!("{}: {route} is not in openapi.json", function.name)),
        );
    }
    faults
}

/// The routes of a description.
fn described(openapi: &Value) -> BTreeSet<String> {
    let paths = openapi["paths"].as_object().into_iter().flatten();
    let routes = paths.flat_map(|(path, methods)| {
        methods.as_object().into_iter().flatten().map(move |(method, _)| format!("{} {path}", method.to_uppercase()))
    });
    routes.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_template_reaches_every_function_and_route() {
    let app = TestApp::start().await.app("buy");
    assert_eq!(check(TEMPLATE, &app), Vec::<String>::new());
}

/// The template without one event, for each event of HTTP in it, and the route that is missing then.
fn each_without_a_route() -> Vec<(String, String)> {
    let lines: Vec<_> = TEMPLATE.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let after = |text: &str, name: &str| {
        let rest = text.split_once(name).expect("an HttpApi event names it").1.trim_start();
        rest.split([',', '\n', ' ']).next().expect("there is a rest").trim_matches('"').to_owned()
    };
    let named = lines.iter().enumerate().filter(|(_, line)| line.trim() == "Type: HttpApi").map(|(at, _)| at - 1);
    let without = named.map(|at| {
        let length = 1 + lines[at + 1..].iter().take_while(|line| indent(line) > indent(lines[at])).count();
        let event = lines[at..at + length].join("\n");
        let kept = lines[..at].iter().chain(&lines[at + length..]);
        (
            format!("{} {}", after(&event, "Method:"), after(&event, "Path:")),
            kept.copied().collect::<Vec<_>>().join("\n"),
        )
    });
    without.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_that_is_not_the_code_is_noticed() {
    let app = TestApp::start().await.app("buy");
    let mutants = each_without_a_route();
    assert_eq!(mutants.len(), described(&openapi(&app)).len(), "each route was taken away once");
    for (route, template) in mutants {
        let faults = check(&template, &app);
        // A function that has no other event is no function any more.
        let names_it = |fault: &str| fault.contains(&route) || fault.contains("Resources.");
        assert!(faults.len() == 1 && names_it(&faults[0]), "without {route}: {faults:?}");
    }
    for (from, to, fault) in [
        ("Handler: sweep", "Handler: sweeper", "there is no function sweeper"),
        ("Handler: settle", "Handler: relay", "relay does not take Queue"),
        ("Handler: sweep", "Handler: buy", "buy does not take Schedule"),
        ("Handler: catalog", "Handler: refund", "catalog is not in the template"),
        ("Method: GET, Path: /me", "Method: GET, Path: /you", "GET /you is not in openapi.json"),
        (" Queue: !GetAtt Payments.Arn", " Queue: !GetAtt Orders.Arn", "is no queue"),
        ("Stream: !GetAtt Orders.StreamArn", "Stream: !GetAtt Seats.StreamArn", "is no stream"),
        ("Type: ScheduleV2", "Type: Alarm", "Alarm"),
    ] {
        assert!(TEMPLATE.contains(from), "{from}");
        let faults = check(&TEMPLATE.replacen(from, to, 1), &app);
        assert!(faults.iter().any(|found| found.contains(fault)), "{to}: {faults:?}");
    }
    let moved = TEMPLATE.replacen("Method: GET, Path: /events }", "Method: GET, Path: /orders }", 1);
    assert!(!check(&moved, &app).is_empty(), "a route of another function is not this one's");
}

fn openapi(app: &App) -> Value {
    serde_json::to_value(functions::openapi(app)).expect("it is JSON")
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository is above").to_owned()
}

/// `UPDATE=1 cargo test -p tests openapi` writes the file anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openapi_json_is_the_codes() {
    let app = TestApp::start().await;
    let description = openapi(&app.app("buy"));
    let text = serde_json::to_string_pretty(&description).expect("it is JSON") + "\n";
    let path = repository().join("openapi.json");
    #[expect(clippy::disallowed_methods, reason = "whoever runs the tests says whether to write the file")]
    if std::env::var("UPDATE").is_ok_and(|value| value == "1") {
        std::fs::write(&path, &text).expect("the repository can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "openapi.json is not what the handlers are: UPDATE=1 cargo test -p tests openapi");
    assert_eq!(app.look("/openapi.json").await.expect(200), description, "and it is served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_is_described() {
    let description = openapi(&TestApp::start().await.app("buy"));
    for (path, methods) in description["paths"].as_object().expect("there are paths") {
        for (method, operation) in methods.as_object().expect("there are methods") {
            let what = format!("{method} {path}");
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{what} says what it does");
            assert!(
                operation["responses"].as_object().is_some_and(|all| all.keys().any(|code| code.starts_with('2'))),
                "{what}"
            );
            let named = operation["parameters"].as_array().cloned().unwrap_or_default();
            for part in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                assert!(
                    named.iter().any(|parameter| parameter["name"] == part && parameter["in"] == "path"),
                    "{what}: {part}"
                );
            }
        }
    }
}

/// The template as it is written, with `!GetAtt X.Arn` as the text `X.Arn`.
fn written() -> Value {
    fn plain(value: yaml_serde::Value) -> Value {
        match value {
            yaml_serde::Value::Tagged(tagged) => plain(tagged.value),
            yaml_serde::Value::Sequence(items) => items.into_iter().map(plain).collect(),
            yaml_serde::Value::Mapping(members) => {
                let name = |name: yaml_serde::Value| name.as_str().expect("names are texts").to_owned();
                members.into_iter().map(|(key, value)| (name(key), plain(value))).collect()
            }
            other => serde_json::to_value(other).expect("it is plain"),
        }
    }
    plain(yaml_serde::from_str(TEMPLATE).expect("it is YAML"))
}

#[test]
fn every_queue_has_dead_letters_and_they_an_alarm() {
    const RETENTION_SECONDS: i64 = 14 * 86_400;
    let template = written();
    let resources = template["Resources"].as_object().expect("there are resources");
    let of = |kind: &str| resources.iter().filter(move |(_, resource)| resource["Type"] == kind).collect::<Vec<_>>();
    let queues = of("AWS::SQS::Queue");
    let targets = queues.iter().filter_map(|(name, queue)| {
        let target = queue["Properties"]["RedrivePolicy"]["deadLetterTargetArn"].as_str()?;
        Some((name.as_str(), target.strip_suffix(".Arn").expect("it is an ARN")))
    });
    let targets: BTreeMap<&str, &str> = targets.collect();
    assert!(targets.len() >= 2);
    let dead: BTreeSet<&str> = targets.values().copied().collect();
    assert_eq!(dead.len(), targets.len(), "each has its own");
    for (name, queue) in &queues {
        let is_dead = dead.contains(name.as_str());
        assert!(is_dead || targets.contains_key(name.as_str()), "{name} gives its messages up to nobody");
        assert_eq!(is_dead, name.ends_with("DeadLetters"), "{name} is named for what it is");
        assert_eq!(queue["Properties"]["MessageRetentionPeriod"], RETENTION_SECONDS, "{name}");
    }
    let alarms = of("AWS::CloudWatch::Alarm");
    let watched = |metric: &str| -> BTreeSet<String> {
        let of_metric = alarms.iter().filter(|(_, alarm)| alarm["Properties"]["MetricName"] == metric);
        let queues = of_metric.map(|(_, alarm)| {
            let properties = &alarm["Properties"];
            assert!(properties["AlarmDescription"].as_str().is_some_and(|text| text.len() > 20), "{properties}");
            let queue = properties["Dimensions"][0]["Value"].as_str().expect("it is a name");
            queue.strip_suffix(".QueueName").expect("it is a queue's name").to_owned()
        });
        queues.collect()
    };
    assert_eq!(watched("ApproximateNumberOfMessagesVisible"), dead.iter().map(|name| (*name).to_owned()).collect());
    assert!(watched("ApproximateAgeOfOldestMessage").contains("Payments"));
}

#[test]
fn every_alarm_reaches_somebody() {
    let template = written();
    let resources = template["Resources"].as_object().expect("there are resources");
    let alarms = resources.iter().filter(|(_, resource)| resource["Type"] == "AWS::CloudWatch::Alarm");
    let silent = alarms.filter(|(_, alarm)| alarm["Properties"]["AlarmActions"] != serde_json::json!(["Alarms"]));
    assert_eq!(silent.map(|(name, _)| name).collect::<Vec<_>>(), Vec::<&String>::new());
    let subscription = &resources["AlarmsToEmail"];
    assert_eq!(
        (&subscription["Condition"], &subscription["Properties"]["TopicArn"]),
        (&"HasAlarmEmail".into(), &"Alarms".into())
    );
    assert_eq!(template["Parameters"]["AlarmEmail"]["Default"], "", "nobody has to be told");
    // CloudWatch may not use the key that AWS manages for topics.
    assert_eq!(resources["Alarms"]["Properties"]["KmsMasterKeyId"], Value::Null);
}

#[test]
fn throttled_routes_are_routes() {
    let template = written();
    let properties =
        template["Resources"].as_object().expect("there are resources").values().map(|it| &it["Properties"]);
    let events =
        properties.filter_map(|properties| properties["Events"].as_object()).flat_map(|events| events.values());
    let routes = events.filter(|event| event["Type"] == "HttpApi").map(|event| {
        let part = |name: &str| event["Properties"][name].as_str().expect("it is a text").to_owned();
        format!("{} {}", part("Method"), part("Path"))
    });
    let routes: BTreeSet<String> = routes.collect();
    let settings = template["Resources"]["Api"]["Properties"]["RouteSettings"].as_object();
    for route in settings.expect("some are throttled").keys() {
        assert!(routes.contains(route), "{route}");
    }
}

/// The resources of a type, by name.
fn of_type<'a>(template: &'a Value, kind: &str) -> BTreeMap<&'a str, &'a Value> {
    let resources = template["Resources"].as_object().expect("there are resources");
    let found = resources.iter().filter(|(_, resource)| resource["Type"] == kind);
    found.map(|(name, resource)| (name.as_str(), &resource["Properties"])).collect()
}

/// One or many, as IAM has it, as many.
fn many(one_or_more: &Value) -> Vec<&str> {
    match one_or_more {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().into_iter().collect(),
    }
}

/// The statements of a role's own policies.
fn statements(role: &Value) -> impl Iterator<Item = &Value> {
    let policies = role["Policies"].as_array().into_iter().flatten();
    let statements = policies.flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().into_iter().flatten());
    // Of an `!If`, what is there when its condition holds.
    statements.map(|statement| statement.as_array().map_or(statement, |choice| &choice[1]))
}

#[test]
fn each_function_has_a_role_of_its_own_that_names_what_it_may() {
    let template = written();
    let (functions, roles) = (of_type(&template, "AWS::Serverless::Function"), of_type(&template, "AWS::IAM::Role"));
    let used: BTreeSet<String> = functions.keys().map(|name| format!("{name}Role")).collect();
    assert_eq!(used, roles.keys().map(|name| (*name).to_owned()).collect());
    for (name, function) in functions {
        // Without a role, or with policies beside it, SAM would add AWS's own policies, which are for every resource.
        assert_eq!(function["Role"], format!("{name}Role.Arn"));
        assert!(function["Policies"].is_null(), "{name}");
        let role = &roles[format!("{name}Role").as_str()];
        assert_eq!(role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["Service"], "lambda.amazonaws.com");
        assert!(role["ManagedPolicyArns"].is_null(), "{name}");
        for statement in statements(role) {
            let (actions, resources) = (many(&statement["Action"]), many(&statement["Resource"]));
            assert!(!actions.is_empty() && !resources.is_empty(), "{name}: {statement}");
            assert!(actions.iter().all(|action| !action.contains('*')), "{name}: {statement}");
            assert!(resources.iter().all(|resource| !resource.contains('*')), "{name}: {statement}");
        }
    }
}

#[test]
fn the_journal_and_the_reports_are_only_added_to() {
    let changes = ["dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:BatchWriteItem"];
    let template = written();
    for (table, properties) in of_type(&template, "AWS::DynamoDB::Table") {
        let policy = &properties["ResourcePolicy"]["PolicyDocument"]["Statement"][0];
        assert_eq!(policy.is_object(), ["Ledger", "Desk"].contains(&table), "{table}");
        if policy.is_object() {
            assert_eq!((&policy["Effect"], &policy["Principal"]), (&"Deny".into(), &"*".into()), "{table}");
            let denied = many(&policy["Action"]);
            assert!(changes.iter().all(|action| denied.contains(action)), "{table}: {denied:?}");
        }
    }
    for (name, role) in of_type(&template, "AWS::IAM::Role") {
        let of_table = |table: &str| {
            let arn = format!("{table}.Arn");
            statements(role)
                .filter(|statement| many(&statement["Resource"]).contains(&arn.as_str()))
                .collect::<Vec<_>>()
        };
        for table in ["Ledger", "Desk"] {
            let (allowed, denied): (Vec<_>, Vec<_>) =
                of_table(table).into_iter().partition(|statement| statement["Effect"] == "Allow");
            for statement in &allowed {
                let actions = many(&statement["Action"]);
                assert!(actions.iter().all(|action| !changes.contains(action)), "{name}: {statement}");
                if actions.contains(&"dynamodb:PutItem") {
                    assert_eq!(denied.iter().flat_map(|denied| many(&denied["Action"])).collect::<Vec<_>>(), changes);
                    let within = &statement["Condition"]["ForAnyValue:StringEquals"]["dynamodb:EnclosingOperation"];
                    assert!(table == "Desk" || many(within) == ["TransactWriteItems"], "{name}: {statement}");
                }
            }
        }
    }
}

#[test]
fn a_message_rests_while_it_may_be_worked_on() {
    let parameters = ["PublicUrl", "StripePublishableKey"].map(|name| (name.to_owned(), "x".to_owned()));
    let system = System::parse(TEMPLATE, &BTreeMap::from(parameters)).expect("it is right");
    for function in &system.functions {
        for trigger in &function.triggers {
            let Trigger::Queue(source) = trigger else { continue };
            let queue =
                system.queues.iter().find(|queue| queue.name == source.queue).expect("the template was checked");
            assert!(queue.visibility >= 6 * function.timeout, "{} is taken by {}", queue.name, function.handler);
            assert!(source.reports_failures, "{}", function.handler);
            assert!(queue.redrive.as_ref().is_some_and(|redrive| redrive.receives_max >= 5), "{}", queue.name);
        }
    }
}

#[test]
fn every_function_is_watched() {
    let template = written();
    let functions: BTreeSet<&str> = of_type(&template, "AWS::Serverless::Function").into_keys().collect();
    let alarms = of_type(&template, "AWS::CloudWatch::Alarm");
    for metric in ["Errors", "Throttles"] {
        let of_alarm = |alarm: &Value| {
            let metrics = alarm["Metrics"].as_array().into_iter().flatten().map(|it| &it["MetricStat"]["Metric"]);
            let metrics = metrics.filter(|it| it["Namespace"] == "AWS/Lambda" && it["MetricName"] == metric);
            metrics.filter_map(|it| it["Dimensions"][0]["Value"].as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        let watched: Vec<String> = alarms.values().flat_map(|alarm| of_alarm(alarm)).collect();
        assert_eq!(watched.len(), functions.len(), "{metric}: each once");
        assert_eq!(watched.iter().map(String::as_str).collect::<BTreeSet<_>>(), functions, "{metric}");
    }
    let dashboard = of_type(&template, "AWS::CloudWatch::Dashboard")["Dashboard"]["DashboardBody"].to_string();
    let unseen = functions.iter().filter(|name| !dashboard.contains(&format!("${{{name}}}")));
    assert_eq!(unseen.collect::<Vec<_>>(), Vec::<&&str>::new());
}

#[test]
fn what_a_person_must_act_on_rings_from_where_they_must() {
    let template = written();
    let own =
        of_type(&template, "AWS::CloudWatch::Alarm").into_values().filter(|alarm| alarm["Namespace"] == "Boxoffice");
    let rings = |alarm: &Value| {
        assert!(alarm["Dimensions"].is_null() && alarm["Statistic"] == "Sum", "it is counted in all: {alarm}");
        let text = |name: &str| alarm[name].as_str().expect("it is a text").to_owned();
        let number = |name: &str| alarm[name].as_i64().expect("it is a number");
        let seconds = number("Period") * number("EvaluationPeriods");
        (text("MetricName"), (text("ComparisonOperator"), number("Threshold"), seconds))
    };
    let rings: BTreeMap<_, _> = own.map(rings).collect();
    let counted: String = ["facts.rs", "reconcile.rs"]
        .map(|file| std::fs::read_to_string(repository().join("functions/src").join(file)).expect("it is there"))
        .concat();
    for name in rings.keys() {
        assert!(counted.contains(&format!("\"{name}\"")), "nobody counts {name}");
    }
    let (over, under) = ("GreaterThanThreshold".to_owned(), "LessThanThreshold".to_owned());
    let expected = [
        // Each is somebody's money.
        ("RefundsFailed", (over.clone(), 0, 300)),
        ("ReconcileFindings", (over.clone(), 0, 86_400)),
        // One is the design at work, many are a fault.
        ("OrdersLost", (over, 10, 3_600)),
        ("ReconcileRuns", (under, 1, 26 * 3_600)),
    ];
    assert_eq!(rings, expected.map(|(name, when)| (name.to_owned(), when)).into_iter().collect());
}

#[test]
fn every_functions_log_has_the_level_that_is_asked_for() {
    let template = written();
    let globals = &template["Globals"]["Function"]["LoggingConfig"];
    assert_eq!(
        (&globals["LogFormat"], &globals["ApplicationLogLevel"]),
        (&"JSON".into(), &"ApplicationLogLevel".into())
    );
    for (name, function) in of_type(&template, "AWS::Serverless::Function") {
        assert!(function["LoggingConfig"].is_null(), "{name} has what all have");
    }
    let level = &template["Parameters"]["ApplicationLogLevel"];
    assert_eq!(level["Default"], "INFO");
    for allowed in many(&level["AllowedValues"]) {
        let own = if allowed == "FATAL" { "error".to_owned() } else { allowed.to_lowercase() };
        let filter = platform::telemetry::filter(Some(allowed));
        assert!(filter.contains(&format!("functions={own}")), "{allowed}: {filter}");
    }
}

#[test]
fn what_is_deployed_is_where_it_is_built() {
    let code = written()["Globals"]["Function"]["CodeUri"].as_str().expect("it is a path").to_owned();
    let build = std::fs::read_to_string(repository().join("infra/build")).expect("it is there");
    // `cargo lambda` and we put an artefact into a directory of its name, and `cargo build` its file beside its profile's.
    let place = code.strip_suffix("/bootstrap/").expect("it is the artefact's directory");
    assert!(build.contains(&format!("place=\"$PWD/{place}\"")), "{code}");
    assert!(!["target/lambda", "target/release", "target/debug"].contains(&place), "cargo puts a file there");
}

#[test]
fn the_guide_speaks_of_this_template() {
    let read = |file: &str| std::fs::read_to_string(repository().join(file)).expect("it is there");
    let (guide, template) = (read("infra/README.md"), written());
    let parameters = template["Parameters"].as_object().expect("there are parameters");
    for (name, parameter) in parameters.iter().filter(|(name, _)| name.ends_with("Secret")) {
        let row = format!("| `{}` |", parameter["Default"].as_str().expect("it has a name"));
        assert!(guide.contains(&row), "{name}: how is it rotated?");
    }
    let told: Vec<_> = guide.split("enabled_events[]=").skip(1).filter_map(|rest| rest.split('\'').next()).collect();
    assert_eq!(told, boxoffice::payments::EVENTS, "what the provider is asked to tell");
    let updates = guide.split("allowed_updates='").nth(1).and_then(|rest| rest.split('\'').next());
    assert_eq!(updates, Some(serde_json::json!(platform::messenger::telegram::UPDATES).to_string().as_str()));
    assert!(guide.contains(boxoffice::telegram::WEBHOOK_PATH), "where Telegram sends them");
    let version = guide.split("api_version=").nth(1).and_then(|rest| rest.split(' ').next()).expect("it names one");
    assert!(read("shared/platform/src/payments/stripe.rs").contains(&format!("\"{version}\"")), "{version}");
    let resources = template["Resources"].as_object().expect("there are resources");
    let named = guide.split("$(named ").skip(1).filter_map(|rest| rest.split(')').next());
    for name in named.filter(|name| !name.starts_with('$')) {
        assert!(resources.contains_key(name), "{name}");
    }
}
