use super::*;

/// A small template that is right, for the cases to spoil.
const SMALL: &str = "
Transform: AWS::Serverless-2016-10-31
Parameters:
  Url: { Type: String, Default: http://here }
Conditions:
  Here: !Equals [!Ref Url, http://here]
Resources:
  Things:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{ AttributeName: pk, AttributeType: S }]
      KeySchema: [{ AttributeName: pk, KeyType: HASH }]
      StreamSpecification: { StreamViewType: NEW_AND_OLD_IMAGES }
      DeletionProtectionEnabled: !If [Here, false, true]
  Work:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 60
      RedrivePolicy: { deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 3 }
  Dead:
    Type: AWS::SQS::Queue
  News:
    Type: AWS::SNS::Topic
  NewsToWork:
    Type: AWS::SNS::Subscription
    Properties:
      TopicArn: !Ref News
      Protocol: sqs
      Endpoint: !GetAtt Work.Arn
      RawMessageDelivery: true
      FilterPolicy: { type: [a.b] }
  Worker:
    Type: AWS::Serverless::Function
    Properties:
      Handler: worker
      Policies: [{ Statement: [{ Effect: Allow, Action: dynamodb:GetItem, Resource: !GetAtt Things.Arn }] }]
      Environment: { Variables: { QUEUE: !Ref Work, TABLE: !Ref Things, GREETING: !Sub \"${Url}/${Things.Arn}\" } }
      Events:
        Messages:
          Type: SQS
          Properties: { Queue: !GetAtt Work.Arn, FunctionResponseTypes: [ReportBatchItemFailures] }
  Clock:
    Type: AWS::Serverless::Function
    Properties:
      Handler: clock
      Events:
        Often:
          Type: ScheduleV2
          Properties: { ScheduleExpression: rate(5 minutes) }
";

fn parse(text: &str) -> Result<System, TemplateError> {
    System::parse(text, &BTreeMap::new())
}

#[test]
fn a_small_template_is_understood() {
    let system = parse(SMALL).expect("it is right");
    let worker = system.function("worker").expect("it is there");
    assert_eq!(worker.environment["QUEUE"], "https://sqs.local.invalid/000000000000/Work");
    assert_eq!(worker.environment["TABLE"], "Things");
    assert_eq!(worker.environment["GREETING"], "http://here/arn:aws:dynamodb:local:000000000000:table/Things");
    let work = system.queues.iter().find(|queue| queue.name == "Work").expect("it is there");
    assert_eq!(work.visibility, Duration::from_secs(60));
    assert_eq!(work.redrive.as_ref().map(|redrive| redrive.receives_max), Some(3));
    assert_eq!(system.subscriptions[0].filter, Some(vec![Pattern::Exactly("a.b".to_owned())]));
    let clock = system.function("clock").expect("it is there");
    assert!(
        matches!(&clock.triggers[..], [Trigger::Schedule(source)] if source.when == When::Every(Duration::from_secs(300)))
    );
}

#[test]
fn the_template_of_this_repository_is_understood() {
    let values = || ["PublicUrl", "StripePublishableKey"].map(|name| (name.to_owned(), "x".to_owned())).into();
    let system = System::parse(TEMPLATE, &values()).expect("it is right");
    assert!(system.functions.len() >= 9);
    assert!(system.tables.iter().any(|table| table.name == "Seats"));
    let relay = system.function("relay").expect("it is there");
    let is_endless = |trigger: &Trigger| matches!(trigger, Trigger::Stream(source) if source.retries_max.is_none());
    assert!(relay.triggers.iter().all(is_endless), "-1 is without end");
    let spoilt = TEMPLATE.replacen("MaximumRetryAttempts: -1", "MaximumRetryAttempts: -2", 1);
    let error = System::parse(&spoilt, &values()).expect_err("that is no number of times");
    assert!(error.problem.contains("MaximumRetryAttempts: -2 is not understood"), "{error}");
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    // What is replaced, by what, and the place and the words that the error must hold.
    let cases = [
        ("AWS::SNS::Topic", "AWS::Kinesis::Stream", "Resources.News", "AWS::Kinesis::Stream is not understood"),
        ("VisibilityTimeout: 60", "FifoQueue: true", "Resources.Work", "unknown field `FifoQueue`"),
        ("KeyType: HASH }]", "KeyType: HASH }]\n      Oops: 1", "Resources.Things", "unknown field `Oops`"),
        ("Handler: worker", "Handler: worker\n      VpcConfig: {}", "Resources.Worker", "unknown field `VpcConfig`"),
        ("Type: SQS\n", "Type: MSK\n", "Resources.Worker.Events.Messages", "MSK is not understood"),
        ("rate(5 minutes)", "cron(0 * * * ? *)", "Resources.Clock.Events.Often", "only rate(...)"),
        ("rate(5 minutes)", "rate(0 minutes)", "Resources.Clock.Events.Often", "only rate(...)"),
        ("rate(5 minutes)", "cron(60 3 * * ? *)", "Resources.Clock.Events.Often", "a daily cron(...)"),
        ("QUEUE: !Ref Work", "QUEUE: !Ref Wrok", "Resources.Worker", "!Ref Wrok: there is no"),
        ("Queue: !GetAtt Work.Arn", "Queue: !GetAtt Wrok.Arn", "Resources.Worker", "there is no resource Wrok"),
        ("Queue: !GetAtt Work.Arn", "Queue: !GetAtt Things.Arn", "Resources.Worker.Events.Messages", "is no queue"),
        ("Resource: !GetAtt Things.Arn", "Resource: !GetAtt Gone.Arn", "Resources.Worker", "no resource Gone"),
        ("!GetAtt Dead.Arn", "!GetAtt Dead.Length", "Resources.Work", "that attribute of AWS::SQS::Queue"),
        ("!GetAtt Dead.Arn", "!Ref Dead", "Resources.Work", "is no queue of this template"),
        ("${Url}/", "${Uri}/", "Resources.Worker", "!Ref Uri"),
        ("!If [Here,", "!If [There,", "Resources.Things", "no condition There"),
        ("[a.b]", "!Split [Url]", "Resources.NewsToWork", "Fn::Split needs what stands between"),
        ("[a.b]", "!Split [\".\", [a]]", "Resources.NewsToWork", "Fn::Split needs a text"),
        (
            "rate(5 minutes)",
            "rate(5 minutes), State: DISABLED",
            "Resources.Clock.Events.Often",
            "unknown field `State`",
        ),
        ("!Sub \"", "!Base64 \"", "Resources.Worker", "Fn::Base64"),
        ("{ type: [a.b] }", "{ kind: [a.b] }", "Resources.NewsToWork", "no attribute kind"),
        ("[a.b]", "[{ anything-but: [a] }]", "Resources.NewsToWork", "is not understood"),
        ("RawMessageDelivery: true", "RawMessageDelivery: false", "Resources.NewsToWork", "only raw delivery"),
        ("Type: AWS::SNS::Topic", "Kind: AWS::SNS::Topic", "Resources.News", "unknown field `Kind`"),
        (", Default: http://here", "", "Parameters.Url", "no value"),
        ("Transform:", "Mappings: {}\nTransform:", "the file", "unknown field `Mappings`"),
        ("  News:\n", "  News\n", "line 24", ""),
    ];
    for (from, to, place, words) in cases {
        let spoilt = SMALL.replacen(from, to, 1);
        assert_ne!(spoilt, SMALL, "{from} is not in the template");
        let error = parse(&spoilt).err().unwrap_or_else(|| panic!("{to} was accepted"));
        assert!(error.place == place && error.problem.contains(words), "{to}: {error}");
    }
}

#[test]
fn what_only_a_deployment_needs_is_left_alone() {
    for (from, to) in [
        ("      BillingMode: PAY_PER_REQUEST\n", "      WarmThroughput: { WriteUnitsPerSecond: 8000 }\n"),
        ("      BillingMode: PAY_PER_REQUEST\n", "      ResourcePolicy: { PolicyDocument: {} }\n"),
        ("      Handler: clock\n", "      Handler: clock\n      Role: !GetAtt ClockRole.Arn\n"),
        ("rate(5 minutes)", "rate(5 minutes), OmitName: true"),
    ] {
        let changed = SMALL.replacen(from, to, 1) + "  ClockRole:\n    Type: AWS::IAM::Role\n";
        assert_ne!(changed.len(), SMALL.len(), "{from} is not in the template");
        let system = parse(&changed).expect("it changes nothing here");
        assert_eq!((system.tables.len(), system.functions.len()), (1, 2), "{to}");
    }
}

#[test]
fn a_text_is_split_and_a_part_is_used_twice() {
    let text = SMALL.replacen("[a.b]", "!Split [\",\", \"a.b,c.d\"]", 1);
    let exactly = |text: &str| Pattern::Exactly(text.to_owned());
    assert_eq!(parse(&text).expect("it is right").subscriptions[0].filter, Some(vec![exactly("a.b"), exactly("c.d")]));
    let text = SMALL.replacen("AttributeDefinitions: [", "AttributeDefinitions: &same [", 1);
    let text = text.replacen("QUEUE: !Ref Work", "QUEUE: &queue !Ref Work, AGAIN: *queue", 1);
    let system = parse(&text).expect("it is right");
    let environment = &system.function("worker").expect("it is there").environment;
    assert_eq!(environment["QUEUE"], environment["AGAIN"]);
}

#[test]
fn a_route_may_be_there_once() {
    let events = "Events:
        A: { Type: HttpApi, Properties: { Method: get, Path: \"/things/{id}\" } }
        B: { Type: HttpApi, Properties: { Method: GET, Path: \"/things/{id}\" } }
        Often:";
    let error = parse(&SMALL.replacen("Events:\n        Often:", events, 1)).expect_err("it is there twice");
    assert!(error.to_string().contains("GET /things/{id} is there twice"), "{error}");
}

#[test]
fn a_time_of_day_is_understood() {
    let system = parse(&SMALL.replacen("rate(5 minutes)", "cron(15 3 * * ? *)", 1)).expect("it is right");
    let clock = system.function("clock").expect("it is there");
    let daily = When::Daily { second: 3 * 3_600 + 15 * 60 };
    assert!(matches!(&clock.triggers[..], [Trigger::Schedule(source)] if source.when == daily));
}
