//! One list of all endpoints, from which the router and the OpenAPI document are made.

use axum::{Json, Router, http::Uri, routing::get};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::dashboard;
use crate::{
    Gateway,
    api::{
        dead_letters, error::RequestError, events, health, live, metrics, pages, pipelines, rankings, series,
        windows,
    },
    push,
};

/// The document's head.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Weir",
        description = "Results of a clickstream pipeline. Sealed windows are final; what the open window shows is provisional and says so. Times \
                       are milliseconds since the epoch, UTC. Text from events (pages, products) is text, never markup.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "windows", description = "Sealed windows"),
        (name = "pages", description = "Pages in sealed windows"),
        (name = "live", description = "The open window"),
        (name = "stream", description = "The pipeline and its health"),
    ),
)]
struct ApiDocument;

fn endpoints() -> (Router<Gateway>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(ApiDocument::openapi())
        .routes(routes!(pipelines::pipelines))
        .routes(routes!(health::health))
        .routes(routes!(events::events))
        .routes(routes!(dead_letters::dead_letters))
        .routes(routes!(windows::windows))
        .routes(routes!(windows::site))
        .routes(routes!(pages::pages))
        .routes(routes!(series::series))
        .routes(routes!(rankings::top))
        .routes(routes!(rankings::trending))
        .routes(routes!(live::now))
        .routes(routes!(push::sse::stream))
        .routes(routes!(push::socket::live))
        .split_for_parts()
}

/// The OpenAPI 3.1 document of this version.
pub fn document() -> utoipa::openapi::OpenApi {
    endpoints().1
}

/// Everything under `/api/v1`, liveness and readiness, metrics, and the dashboard.
pub(super) fn router(gateway: Gateway) -> Router {
    let (router, document) = endpoints();
    router
        .merge(dashboard::router())
        .route("/api/v1/openapi.json", get(move || async { Json(document) }))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .method_not_allowed_fallback(|| async { RequestError::Method })
        .fallback(|uri: Uri| async move {
            let path: String = uri.path().chars().take(100).collect();
            RequestError::UnknownPath { path }
        })
        .with_state(gateway)
}
