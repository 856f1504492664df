//! The artefact of every Lambda function: it becomes the one that `_HANDLER` names.

use functions::Trigger;
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};
use lambda_runtime::{LambdaEvent, service_fn};
use platform::http::ClientAddr;
use platform::{App, Config};
use std::net::{IpAddr, Ipv4Addr};
use tower::ServiceBuilder;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    platform::telemetry::init_json();
    let config = Config::from_map(std::env::vars().collect());
    let name = config.get("_HANDLER")?.to_owned();
    let function = functions::find(&name).ok_or_else(|| format!("no function is named {name}"))?;
    let app = App::on_aws(config).await;
    match function.trigger {
        Trigger::Http(routes) => {
            let router = routes(app).split_for_parts().0;
            let service = ServiceBuilder::new().map_request(with_client_addr).service(router);
            lambda_http::run(service).await
        }
        _ => {
            let invoke = async |event: LambdaEvent<serde_json::Value>| {
                functions::invoke(app.clone(), &name, event.payload).await.map_err(lambda_runtime::Error::from)
            };
            lambda_runtime::run(service_fn(invoke)).await
        }
    }
}

/// The caller's address, as API Gateway saw it.
fn with_client_addr(mut request: Request) -> Request {
    let address = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.http.source_ip.as_deref().and_then(|ip| ip.parse().ok()),
        _ => None,
    };
    let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    request.extensions_mut().insert(ClientAddr(address));
    request
}
