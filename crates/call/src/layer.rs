//! The layers, one file each. All of them take `http::Request<Bytes>`, give `http::Response<Bytes>` or
//! [`Evidence`], and can be used alone or in any order with other layers of these types.
//!
//! ```
//! use std::time::Duration;
//! use bytes::Bytes;
//! use call::layer::{bulkhead::Bulkhead, deadline::Deadline};
//! use call::{BulkheadSettings, Evidence};
//! use tower::{ServiceBuilder, ServiceExt, layer::layer_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let service = ServiceBuilder::new()
//!     .layer(layer_fn(|inner| Deadline::new(inner, Duration::from_millis(1))))
//!     .layer(layer_fn(|inner| Bulkhead::new(inner, BulkheadSettings::default())))
//!     .service_fn(|_: http::Request<Bytes>| async { Ok::<_, Evidence>(http::Response::new(Bytes::new())) });
//! assert_eq!(service.oneshot(http::Request::new(Bytes::new())).await.unwrap().status(), 200);
//! # });
//! ```

pub mod attempt;
pub mod balance;
pub mod bulkhead;
pub mod circuit;
pub mod deadline;
pub mod health;
pub mod hedge;
pub mod resolve;
pub mod retry;

use bytes::Bytes;
use http::{Request, Response};

use crate::core::verdict::Evidence;

/// What every layer wraps, and is.
pub trait Exchange:
    tower::Service<Request<Bytes>, Response = Response<Bytes>, Error = Evidence, Future: Send> + Clone + Send + 'static
{
}

impl<S> Exchange for S where
    S: tower::Service<Request<Bytes>, Response = Response<Bytes>, Error = Evidence, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// Waits until it is ready, and asks it.
pub(crate) async fn ask<S: Exchange>(service: &mut S, request: Request<Bytes>) -> Result<Response<Bytes>, Evidence> {
    std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
    service.call(request).await
}

/// The service of a layer that has an `async fn run(&self, inner: S, request)`.
macro_rules! exchange {
    ($layer:ident) => {
        impl<S: crate::layer::Exchange> tower::Service<http::Request<bytes::Bytes>> for $layer<S> {
            type Response = http::Response<bytes::Bytes>;
            type Error = crate::core::verdict::Evidence;
            type Future = crate::transport::Answering;

            fn poll_ready(
                &mut self,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Result<(), crate::core::verdict::Evidence>> {
                // The inner one is asked when it is needed: with a retry that is not when the call begins.
                std::task::Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: http::Request<bytes::Bytes>) -> crate::transport::Answering {
                let layer = self.clone();
                Box::pin(layer.run(request))
            }
        }
    };
}
pub(crate) use exchange;
