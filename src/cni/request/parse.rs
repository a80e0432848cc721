//! The way from an invocation to a request.

use std::mem;

use super::args::Arguments;
use super::behaviour::Behaviour;
use super::config::Config;
use super::env::{self, Command, Verb};
use super::error::RequestError;
use super::findings::{Findings, Tolerance};
use super::plan::{Plan, Sources};
use super::ranges::SpokenFor;
use super::{
    AddRequest, AnswerParts, CniVersion, DelRequest, Outcome, Parsed, Rejected, Request, identity,
    json, previous,
};
use crate::invocation::{Invocation, Machine};
use whereabouts_core::claim::{Ask, Choice, Owner, Want};
use whereabouts_core::verbs::{CheckRequest, Expectation, GcRequest, StatusRequest};

/// The meaning of `invocation`. The files that its config names are read from `machine`.
pub fn parse(invocation: &Invocation, machine: &dyn Machine) -> Result<Outcome, Box<Rejected>> {
    let mut findings = Findings::new();
    read(invocation, machine, &mut findings).map_err(|error| {
        Box::new(Rejected {
            version: findings.version,
            logging: findings.logging,
            tracing: findings.tracing,
            metrics_socket: findings.metrics_socket,
            remarks: findings.remarks,
            error,
        })
    })
}

fn read(
    invocation: &Invocation,
    machine: &dyn Machine,
    findings: &mut Findings,
) -> Result<Outcome, RequestError> {
    // Stdin is read before the environment, because an error in the environment is also answered in
    // the config's version.
    let stdin = invocation
        .stdin
        .as_deref()
        .map_err(|error| RequestError::Stdin(*error));
    let config = stdin.and_then(|stdin| json::object(stdin, "stdin", ""));
    let config = config.map(|mut config| (CniVersion::take(&mut config), config));
    if let Ok((Ok(version), _)) = &config {
        findings.version = *version;
    }
    let verb = match env::command(invocation)? {
        Command::Nothing => return Ok(Outcome::About),
        Command::Version => return Ok(Outcome::Version(findings.version)),
        Command::Verb(verb) => verb,
    };
    verb.check_variables(invocation)?;
    let (version, config) = config?;
    verb.check_version(version?)?;
    findings.tolerance = match verb {
        Verb::Add | Verb::Status => Tolerance::Strict,
        Verb::Del | Verb::Check | Verb::Gc => Tolerance::Lenient,
    };
    let config = Config::take(config, invocation, machine, findings)?;
    let parsed = parse_config(verb, config, invocation, machine, findings)?;
    Ok(Outcome::Verb(parsed))
}

fn parse_config(
    verb: Verb,
    config: Config,
    invocation: &Invocation,
    machine: &dyn Machine,
    findings: &mut Findings,
) -> Result<Parsed, RequestError> {
    let datastore = config
        .datastore
        .read(&config.directories, machine, findings)?;
    let Behaviour {
        deadline,
        when_unreachable,
        when_full,
    } = config.behaviour.read(verb, findings)?;
    let sticky = config.sticky.read(findings)?;
    let arguments = env::variable(invocation, "CNI_ARGS")
        .and_then(|text| Arguments::parse(text.unwrap_or_default()));
    let arguments = findings.tolerate(arguments)?;
    let pod = arguments.pod();
    let parts = config.static_parts.read(findings)?;
    let requested = config.requested.read(arguments.addresses, findings)?;
    let spoken_for = SpokenFor::new(&parts.addresses, &requested, &arguments.gateways);
    let ranges = config.ranges.read(spoken_for, findings)?;
    let sources = Sources {
        ranges: &ranges.valid,
        requested,
        configured: parts.addresses,
        gateways: arguments.gateways,
        forbidden: &ranges.gateways,
    };
    let node = config.node?;
    let cluster = identity::cluster(config.cluster_id, &config.directories, machine);
    let cluster = match verb {
        // Without an identity, GC could collect the claims of another cluster's node.
        Verb::Gc => cluster?,
        Verb::Add | Verb::Del | Verb::Check | Verb::Status => findings.tolerate(cluster)?,
    };

    let request = match verb {
        Verb::Add => {
            let attachment = env::attachment(invocation, config.network)?;
            let plan = sources.plan(findings)?;
            plan.check_version(findings.version)?;
            let mut owner = Owner {
                node,
                pod_namespace: arguments.pod_namespace,
                pod_name: arguments.pod_name,
                pod_uid: arguments.pod_uid,
                netns: env::netns(invocation)?,
                boot: identity::boot(config.boot, machine, findings)?,
                is_durable: false,
            };
            owner.is_durable = sticky.is_durable(&owner)?;
            Request::Add(AddRequest {
                ask: (!plan.wants.is_empty()).then_some(Ask {
                    attachment,
                    wants: plan.wants,
                    owner,
                    may_take_over: true,
                }),
                answer: AnswerParts {
                    gateways: plan.gateways,
                    statics: plan.statics,
                    routes: parts.routes,
                    dns: parts.dns,
                },
            })
        }
        Verb::Del => Request::Del(DelRequest {
            attachment: env::attachment(invocation, config.network)?,
            queues: ranges.queues,
            when_unreachable,
        }),
        Verb::Check => {
            let plan = sources.plan(findings);
            let claim = expected(&plan);
            let plan = findings.tolerate(plan)?;
            Request::Check(CheckRequest {
                attachment: env::attachment(invocation, config.network)?,
                previous: previous::addresses(config.previous)?,
                statics: plan.statics.iter().map(|one| one.address).collect(),
                claim,
            })
        }
        Verb::Gc => Request::Gc(GcRequest {
            network: config.network,
            node,
            valid: config.valid_attachments.read()?,
        }),
        Verb::Status => {
            let wants = status_wants(config.runtime_gives, sources, findings)?;
            Request::Status(StatusRequest { wants, when_full })
        }
    };
    Ok(Parsed {
        request,
        version: findings.version,
        datastore,
        pod,
        cluster,
        logging: findings.logging.clone(),
        tracing: findings.tracing.clone(),
        metrics_socket: findings.metrics_socket.clone(),
        deadline,
        remarks: mem::take(&mut findings.remarks),
    })
}

/// Whether an attachment has a claim, by what its ADD wanted.
fn expected(plan: &Result<Plan, RequestError>) -> Expectation {
    match plan {
        Ok(plan) if plan.wants.is_empty() => Expectation::NotNeeded,
        Ok(_) | Err(_) => Expectation::Needed,
    }
}

/// The wants that each ADD has of the ranges.
fn status_wants(
    runtime_gives: bool,
    sources: Sources<'_>,
    findings: &mut Findings,
) -> Result<Vec<Want>, RequestError> {
    if runtime_gives && sources.is_empty() {
        return Ok(Vec::new());
    }
    let mut wants = sources.plan(findings)?.wants;
    // A taken fixed address of one pod says nothing about the next pod.
    wants.retain(|want| matches!(want.choice, Choice::Lowest));
    Ok(wants)
}
