//! NetworkAttachmentDefinitions of the Network Plumbing Working Group, for readers of ranges.

use serde_json::Value;
use whereabouts_core::failure::ApiServerFailure;
use whereabouts_kubernetes::api::ReadError;

use super::{Objects, page, read};
use crate::answer::Answer;
use crate::request::{Request, Resource};

/// Objects in one answer. Each has a configuration of up to a megabyte, and most have a few hundred bytes.
const PAGE: usize = 250;

/// Lists that are begun. The place in a list expires after minutes.
const TRIES: usize = 3;

impl Objects {
    /// All NetworkAttachmentDefinitions, as far as `keep` keeps them. A server without the kind is one of a cluster without Multus:
    /// it has none.
    pub async fn definitions<T>(
        &self,
        keep: impl Fn(Value) -> Option<T>,
    ) -> Result<Vec<T>, ApiServerFailure> {
        for _ in 0..TRIES {
            if let Some(kept) = self.try_definitions(&keep).await? {
                return Ok(kept);
            }
        }
        let reason = "the list of networks expired before its end".to_owned();
        Err(ApiServerFailure::NotNow(reason))
    }

    /// The same; `None` if a page is not kept any more.
    async fn try_definitions<T>(
        &self,
        keep: &impl Fn(Value) -> Option<T>,
    ) -> Result<Option<Vec<T>>, ApiServerFailure> {
        let mut kept = Vec::new();
        let mut continued: Option<String> = None;
        loop {
            let mut query = vec![("limit", PAGE.to_string())];
            let is_first = continued.is_none();
            query.extend(continued.map(|place| ("continue", place)));
            let answer = self.send(Request::list(&definitions(), query)).await;
            // In the middle of a list, it is a sign of a fault.
            if is_first && matches!(answer, Answer::NoKind(_)) {
                return Ok(Some(Vec::new()));
            }
            let page = match read(answer, page::<Value>) {
                Ok(page) => page,
                Err(ReadError::Expired) => return Ok(None),
                Err(ReadError::Failed(refusal)) => return Err(refusal.failure),
            };
            kept.extend(page.items.into_iter().filter_map(keep));
            match page.continued {
                Some(place) => continued = Some(place),
                None => return Ok(Some(kept)),
            }
        }
    }
}

fn definitions() -> Resource {
    Resource {
        group: "k8s.cni.cncf.io",
        version: "v1",
        plural: "network-attachment-definitions",
        namespace: None,
    }
}
