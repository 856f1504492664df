//! The artefact of every Lambda function: it becomes the one that `_HANDLER` names.

use functions::Trigger;
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};
use lambda_runtime::{LambdaEvent, service_fn};
use platform::http::{ClientAddr, Deadline, RequestId};
use platform::{App, Config};
use std::net::{IpAddr, Ipv4Addr};
use tower::ServiceBuilder;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let config = Config::from_map(std::env::vars().collect());
    platform::telemetry::init_json(config.get("AWS_LAMBDA_LOG_LEVEL").ok());
    let name = config.get("_HANDLER")?.to_owned();
    let function = functions::find(&name).ok_or_else(|| format!("no function is named {name}"))?;
    let app = App::on_aws(config)?;
    match function.trigger {
        Trigger::Http(routes) => {
            let router = routes(app.clone()).split_for_parts().0;
            let know = move |request| with_invocation(&app, request);
            let service = ServiceBuilder::new().map_request(know).service(router);
            lambda_http::run(service).await
        }
        _ => {
            let invoke = async |event: LambdaEvent<serde_json::Value>| {
                let app = app.clone().until(app.moment(event.context.deadline));
                functions::invoke(app, &name, event.payload).await.map_err(lambda_runtime::Error::from)
            };
            lambda_runtime::run(service_fn(invoke)).await
        }
    }
}

/// The caller's address and the request's id, as API Gateway has them, and when Lambda ends the invocation.
fn with_invocation(app: &App, mut request: Request) -> Request {
    let (address, id) = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => {
            let address = context.http.source_ip.as_deref().and_then(|ip| ip.parse().ok());
            (address, context.request_id.clone())
        }
        _ => (None, None),
    };
    let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    request.extensions_mut().insert(ClientAddr(address));
    if let Some(id) = id {
        request.extensions_mut().insert(RequestId(id));
    }
    if let Some(deadline) = request.lambda_context_ref().map(|context| app.moment(context.deadline)) {
        request.extensions_mut().insert(Deadline(deadline));
    }
    request
}
