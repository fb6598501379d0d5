//! The pages of the stand-in and of the demo's shop: templates with every value escaped, one style,
//! no script, and headers that keep it so.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;
use url::Url;

/// The style sheet.
pub(crate) const STYLE: &str = include_str!("../templates/pages.css");

/// A page's template, by name; the name's ending makes every value escaped.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Template {
    /// The stand-in's.
    Checkout,
    /// The demo shop's.
    Shop,
}

impl Template {
    const fn source(self) -> (&'static str, &'static str) {
        match self {
            Self::Checkout => ("checkout.html", include_str!("../templates/checkout.html")),
            Self::Shop => ("shop.html", include_str!("../templates/shop.html")),
        }
    }
}

/// Renders a page; its forms may lead to this origin and to those of `to`, and nowhere else.
pub(crate) fn page(
    status: StatusCode,
    template: Template,
    view: &impl Serialize,
    to: &[&Url],
) -> Response {
    match rendered(template, view) {
        Ok(html) => {
            let mut policy = String::from(
                "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; \
                 form-action 'self'",
            );
            for url in to {
                policy.push(' ');
                policy.push_str(&url.origin().ascii_serialization());
            }
            let headers = [
                (CONTENT_TYPE, "text/html; charset=utf-8"),
                (CACHE_CONTROL, "no-store"),
                (REFERRER_POLICY, "no-referrer"),
                (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            let mut response = (status, headers, html).into_response();
            if let Ok(policy) = HeaderValue::from_str(&policy) {
                response
                    .headers_mut()
                    .insert(CONTENT_SECURITY_POLICY, policy);
            }
            response
        }
        Err(error) => {
            tracing::error!(%error, "a page failed");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn rendered(template: Template, view: &impl Serialize) -> Result<String, minijinja::Error> {
    let (name, source) = template.source();
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_template(name, source)?;
    environment.get_template(name)?.render(Serde(view))
}
