//! Requests: a verb on the objects of one resource.

use std::fmt::Write as _;

use bytes::Bytes;
use hyper::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Characters of a part of a path or a query that are not escaped (RFC 3986, unreserved).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A kind of objects, as a URL names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The version of the group.
    pub version: &'static str,
    /// The plural name.
    pub plural: &'static str,
    /// The namespace; `None` for objects of the cluster.
    pub namespace: Option<String>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) resource: Resource,
    pub(crate) name: Option<String>,
    subresource: Option<&'static str>,
    query: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    pub(crate) content: &'static str,
    pub(crate) accept: &'static str,
}

/// The form of bodies. Protobuf would be shorter, but custom resources have none.
const JSON: &str = "application/json";

/// The form of a patch.
const JSON_PATCH: &str = "application/json-patch+json";

/// The form of a list without the content of its objects.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

impl Request {
    /// Reads one object.
    pub fn get(resource: &Resource, name: &str) -> Self {
        Self::of(Method::GET, resource, Some(name), Vec::new())
    }

    /// Reads the objects that `query` selects.
    pub fn list(resource: &Resource, query: Vec<(&'static str, String)>) -> Self {
        let mut request = Self::of(Method::GET, resource, None, Vec::new());
        request.query = query;
        request
    }

    /// Reads the metadata of the objects that `query` selects.
    pub fn list_metadata(resource: &Resource, query: Vec<(&'static str, String)>) -> Self {
        let mut request = Self::list(resource, query);
        request.accept = METADATA;
        request
    }

    /// Creates an object. The server refuses the name of an object that exists.
    pub fn create(resource: &Resource, object: Vec<u8>) -> Self {
        Self::of(Method::POST, resource, None, object)
    }

    /// Replaces an object. The version in `object` must be the present one.
    pub fn replace(resource: &Resource, name: &str, object: Vec<u8>) -> Self {
        Self::of(Method::PUT, resource, Some(name), object)
    }

    /// Changes an object by a JSON patch (RFC 6902), as soon as each of its tests holds.
    pub fn patch(resource: &Resource, name: &str, patch: Vec<u8>) -> Self {
        let mut request = Self::of(Method::PATCH, resource, Some(name), patch);
        request.content = JSON_PATCH;
        request
    }

    /// Deletes an object. `options` has the preconditions.
    pub fn delete(resource: &Resource, name: &str, options: Vec<u8>) -> Self {
        Self::of(Method::DELETE, resource, Some(name), options)
    }

    /// Sends `body` to the subresource of an object.
    pub fn create_in(
        resource: &Resource,
        name: &str,
        subresource: &'static str,
        body: Vec<u8>,
    ) -> Self {
        let mut request = Self::of(Method::POST, resource, Some(name), body);
        request.subresource = Some(subresource);
        request
    }

    fn of(method: Method, resource: &Resource, name: Option<&str>, body: Vec<u8>) -> Self {
        Self {
            method,
            resource: resource.clone(),
            name: name.map(str::to_owned),
            subresource: None,
            query: Vec::new(),
            body: body.into(),
            content: JSON,
            accept: JSON,
        }
    }

    /// Whether the request is a patch.
    pub(crate) fn is_patch(&self) -> bool {
        self.method == Method::PATCH
    }

    /// Whether the request changes nothing.
    pub fn is_read(&self) -> bool {
        self.method == Method::GET
    }

    /// The path and the query.
    pub(crate) fn path(&self) -> String {
        let Resource {
            group,
            version,
            plural,
            namespace,
        } = &self.resource;
        let mut path = match *group {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        };
        if let Some(namespace) = namespace {
            let _ = write!(path, "/namespaces/{}", escaped(namespace));
        }
        let _ = write!(path, "/{plural}");
        if let Some(name) = &self.name {
            let _ = write!(path, "/{}", escaped(name));
        }
        if let Some(subresource) = self.subresource {
            let _ = write!(path, "/{subresource}");
        }
        for (index, (key, value)) in self.query.iter().enumerate() {
            let separator = if index == 0 { '?' } else { '&' };
            let _ = write!(path, "{separator}{key}={}", escaped(value));
        }
        path
    }
}

fn escaped(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, ESCAPED)
}

#[cfg(test)]
mod tests {
    use super::{Request, Resource};

    fn resource(group: &'static str, namespace: Option<&str>) -> Resource {
        Resource {
            group,
            version: "v1",
            plural: "things",
            namespace: namespace.map(str::to_owned),
        }
    }

    #[test]
    fn a_path_names_group_namespace_object_and_subresource() {
        let core = resource("", Some("kube-system"));
        let own = resource("example.org", None);
        let cases = [
            (
                Request::get(&core, "a"),
                "/api/v1/namespaces/kube-system/things/a",
            ),
            (
                Request::create_in(&core, "a", "token", Vec::new()),
                "/api/v1/namespaces/kube-system/things/a/token",
            ),
            (
                Request::create(&own, Vec::new()),
                "/apis/example.org/v1/things",
            ),
            (
                Request::delete(&own, "../b?c", Vec::new()),
                "/apis/example.org/v1/things/..%2Fb%3Fc",
            ),
            (
                Request::list(
                    &own,
                    vec![
                        ("limit", "5".to_owned()),
                        ("labelSelector", "a in (b, c)".to_owned()),
                    ],
                ),
                "/apis/example.org/v1/things?limit=5&labelSelector=a%20in%20%28b%2C%20c%29",
            ),
        ];
        for (request, path) in cases {
            assert_eq!(request.path(), path);
        }
    }
}
