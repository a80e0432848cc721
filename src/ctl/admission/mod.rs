//! The webhook of `controller`: NetworkAttachmentDefinitions that ADD would refuse are denied, and doubtful ones are warned
//! of, in the words of `lint`. Missing knowledge leads to silence or to a warning, never to a denial.
//!
//! ```text
//! API server --review--> serve --> judge --denied, or warnings--------------> answer
//!                                  ^   `--question--> claims, datastore --'
//!      watches --> surroundings ---'      (stranded, full)
//! Secret or files --> tls
//! ```

#[cfg(test)]
mod agreement_tests;
mod certificate;
mod claims;
#[cfg(test)]
mod hostile_tests;
mod judge;
mod metrics;
mod pods;
mod review;
mod serve;
mod stranded;
mod surroundings;
#[cfg(test)]
mod tests;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use ipnet::IpNet;
use tokio::runtime::Handle;
use whereabouts_controller::{ApiServer, Kind, follow_all};

use self::claims::Claims;
use self::metrics::Metrics;
use self::serve::Webhook;
use self::surroundings::{ClusterRange, Surroundings, definition, ranges_at};
use self::tls::{OwnCertificate, Shown, Source};
use crate::connection::DatastoreOptions;
use crate::listening;
use crate::output::{print, say};
use crate::selection::selector;
use crate::serve::exposition::Exposition;

/// Under what the options stand in a help text.
const HEADING: &str = "The webhook that judges networks (default: none)";

/// The options of the webhook.
#[derive(Args)]
pub(crate) struct WebhookOptions {
    /// Where the API server asks about networks, by HTTPS. Port 0 takes a free one, which is printed.
    #[arg(long, help_heading = HEADING, value_name = "ADDRESS")]
    webhook_listen: Option<SocketAddr>,
    /// The folder of tls.crt and tls.key, as cert-manager fills it [default: the controllers make a certificate themselves].
    #[arg(long, help_heading = HEADING, value_name = "FOLDER", requires = "webhook_listen")]
    webhook_cert_dir: Option<PathBuf>,
    /// The Service by which the API server reaches the webhook. The controllers' certificate is for its name.
    #[arg(long, help_heading = HEADING, value_name = "NAME", default_value = "whereabouts-webhook", value_parser = selector)]
    webhook_service: String,
    /// The Secret of the controllers' certificate. It must exist, and may be empty.
    #[arg(long, help_heading = HEADING, value_name = "NAME", default_value = "whereabouts-webhook", value_parser = selector)]
    webhook_secret: String,
    /// The ValidatingWebhookConfiguration that is told the authority of that certificate. It can be given several times.
    #[arg(long, help_heading = HEADING, value_name = "NAME", default_value = "whereabouts-networks", value_parser = selector)]
    webhook_configuration: Vec<String>,
    /// A range of Pods that the Node objects do not tell. It can be given several times.
    #[arg(long, help_heading = HEADING, value_name = "CIDR", requires = "webhook_listen")]
    pod_cidr: Vec<IpNet>,
}

/// The webhook, as others see it.
#[derive(Clone)]
pub(crate) struct Admission {
    metrics: Arc<Metrics>,
    shown: Shown,
}

impl Admission {
    /// Whether the API server can be answered.
    pub(crate) fn is_ready(&self) -> bool {
        self.shown.is_there()
    }

    /// Adds its metrics to a scrape.
    pub(crate) fn tell(&self, text: &mut Exposition) {
        self.metrics.tell(text, self.shown.is_there());
    }
}

fn report(reason: &str) {
    say!("whereaboutsctl: {reason}");
}

/// Starts the webhook on `asking`, if the options want it. `failed` is called if it ends.
pub(crate) fn start(
    options: &WebhookOptions,
    etcd: &DatastoreOptions,
    namespace: &str,
    api: &ApiServer,
    asking: &Handle,
    failed: impl FnOnce(String) + Send + 'static,
) -> Result<Option<Admission>, String> {
    let Some(listen) = options.webhook_listen else {
        return Ok(None);
    };
    let wrong = |error: std::io::Error| format!("{listen}: {error}");
    let listener = asking.block_on(listening::bind(listen)).map_err(wrong)?;
    let address = listener.local_addr().map_err(wrong)?;
    print(&format!("judging networks on https://{address}\n"));
    let admission = Admission {
        metrics: Arc::default(),
        shown: Shown::default(),
    };
    let surroundings = Surroundings {
        stated: options.stated(),
        ..Surroundings::default()
    };
    follow(api, asking, &surroundings);
    let source = options.source(namespace);
    asking.spawn(tls::keep(
        api.clone(),
        source,
        admission.shown.clone(),
        report,
    ));
    let webhook = Webhook {
        surroundings,
        claims: Claims::start(etcd)?,
        metrics: admission.metrics.clone(),
    };
    let shown = admission.shown.clone();
    asking.spawn(async move {
        let error = serve::serve(listener, webhook, &shown).await;
        failed(format!("the webhook: {error}"));
    });
    Ok(Some(admission))
}

fn follow(api: &ApiServer, asking: &Handle, surroundings: &Surroundings) {
    let Surroundings {
        definitions,
        services,
        pods,
        ..
    } = surroundings.clone();
    let its = api.clone();
    asking.spawn(async move {
        follow_all(&its, Kind::Networks, &definitions, definition, report).await;
    });
    let its = api.clone();
    asking.spawn(async move {
        let keep = |object| ranges_at(&object, "/spec/cidrs", "the Service range of ServiceCIDR");
        follow_all(&its, Kind::ServiceRanges, &services, keep, report).await;
    });
    let its = api.clone();
    asking.spawn(async move {
        let keep = |object| ranges_at(&object, "/spec/podCIDRs", "the Pod range of node");
        follow_all(&its, Kind::Nodes, &pods, keep, report).await;
    });
}

impl WebhookOptions {
    fn stated(&self) -> Vec<ClusterRange> {
        let stated = self.pod_cidr.iter().map(|cidr| ClusterRange {
            cidr: *cidr,
            what: "a Pod range of --pod-cidr".to_owned(),
        });
        stated.collect()
    }

    fn source(&self, namespace: &str) -> Source {
        match &self.webhook_cert_dir {
            Some(folder) => Source::Folder(folder.clone()),
            None => Source::Secret(OwnCertificate {
                namespace: namespace.to_owned(),
                secret: self.webhook_secret.clone(),
                server: format!("{}.{namespace}.svc", self.webhook_service),
                configurations: self.webhook_configuration.clone(),
            }),
        }
    }
}
