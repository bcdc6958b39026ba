//! Channel `email`: SMTP step by step, each step under a time limit.
//!
//! Source: RFC 5321 (SMTP), 3207 (STARTTLS), 4954 (AUTH), 3834 (Auto-Submitted), 2919 (List-Id), 2387 and 2392 (inline
//! pictures).

use super::{Channel, Undelivered};
use crate::alert::message::Message;
use crate::alert::{html, plot};
use crate::error::chain;
use crate::settings::{Settings, Smtp, Tls};
use lettre::Address;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Noop, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use std::future::Future;
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

pub(super) const CHANNEL: Channel = Channel {
    name: "email",
    addresses: |settings, condition| {
        if settings.smtp.host.is_none() {
            return Vec::new();
        }
        if !condition.recipients.is_empty() {
            return condition.recipients.clone();
        }
        let critical = condition.severity == crate::alert::Severity::Critical && !settings.smtp.to_critical.is_empty();
        if critical { settings.smtp.to_critical.clone() } else { settings.smtp.to.clone() }
    },
    limit: |settings| settings.smtp.timeout * STEPS,
    deliver: |settings, message, address| Box::pin(deliver(settings, message, address)),
};

/// Connecting with greeting, encryption, login, sender, recipient, data, message.
const STEPS: u32 = 7;

async fn deliver(settings: &Settings, message: &Message, address: &str) -> Result<(), Undelivered> {
    let smtp = &settings.smtp;
    let broken = |what: String| Undelivered::Refused(what);
    let to = mailbox(address).map_err(broken)?;
    let from = sender(settings).map_err(broken)?;
    // drawing and encoding take milliseconds of a core
    let (mail, owned) = (message.clone(), settings.clone());
    let built = tokio::task::spawn_blocking(move || build(&owned, &mail)).await;
    let bytes = built.map_err(|_| broken("the mail could not be built: it panicked".to_owned()))?.map_err(broken)?;

    let mut connection = connect(smtp, &settings.alerting.host()).await.map_err(Undelivered::Later)?;
    let limit = smtp.timeout;
    let later = |(what, error): (&str, Refusal)| Undelivered::Later(format!("{what}: {}", error.text));
    step("sender", limit, connection.command(Mail::new(Some(from.email.clone()), vec![]))).await.map_err(later)?;
    step("recipient", limit, connection.command(Rcpt::new(to.email.clone(), vec![]))).await.map_err(
        |(what, error)| {
            // only here is it the recipient who is not wanted; everywhere else a person can mend something
            let text = format!("{what}: {}", error.text);
            if error.permanent { Undelivered::Refused(text) } else { Undelivered::Later(text) }
        },
    )?;
    step("data", limit, connection.command(Data)).await.map_err(later)?;
    step("message", limit, connection.message(&bytes)).await.map_err(later)?;
    // the server has it: however this ends, it must not be sent again
    let _ = tokio::time::timeout(Duration::from_secs(2), connection.quit()).await;
    Ok(())
}

/// Connects, encrypts and logs in, and sends nothing: whether alerts could be sent. Err: what is in the way.
pub(in crate::alert) async fn reach(settings: &Settings) -> Result<(), String> {
    let mut connection = connect(&settings.smtp, &settings.alerting.host()).await?;
    let answer = step("NOOP", settings.smtp.timeout, connection.command(Noop)).await;
    answer.map_err(|(what, error)| format!("{what}: {}", error.text))?;
    let _ = tokio::time::timeout(Duration::from_secs(2), connection.quit()).await;
    Ok(())
}

async fn connect(smtp: &Smtp, own_name: &str) -> Result<AsyncSmtpConnection, String> {
    let Some(host) = smtp.host.clone() else { return Err("[smtp] host is not set".to_owned()) };
    let (port, limit) = (smtp.port(), smtp.timeout);
    let said = |(what, error): (&str, Refusal)| format!("{host}:{port}, {what}: {}", error.text);
    // a name that no host can have is none to greet with
    let hello = match idna::domain_to_ascii_strict(own_name) {
        Ok(name) if !name.is_empty() => ClientId::Domain(name),
        _ => ClientId::Ipv4(Ipv4Addr::LOCALHOST),
    };
    let tls = match smtp.tls {
        Tls::None => None,
        Tls::Starttls | Tls::Implicit => Some(tls_parameters(smtp, &host)?),
    };
    let at_once = tls.clone().filter(|_| smtp.tls == Tls::Implicit);
    let connecting = AsyncSmtpConnection::connect_tokio1((host.as_str(), port), Some(limit), &hello, at_once, None);
    let mut connection = step("connecting", limit, connecting).await.map_err(said)?;
    if let Some(tls) = tls.filter(|_| smtp.tls == Tls::Starttls) {
        step("STARTTLS", limit, connection.starttls(tls, &hello)).await.map_err(said)?;
    }
    if let Some(username) = &smtp.username {
        let password = smtp
            .password()
            .map_err(|error| format!("failed to {}", chain(&error)))?
            .ok_or("[smtp] username is set and no password: set password_file, or RETRAIND_SMTP__PASSWORD")?;
        if smtp.tls == Tls::None && !is_local(&host) {
            return Err(format!("the password would cross the network in the clear to {host}: set [smtp] tls"));
        }
        let credentials = Credentials::new(username.clone(), password);
        let login = connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials);
        step("login", limit, login).await.map_err(said)?;
    }
    Ok(connection)
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn tls_parameters(smtp: &Smtp, host: &str) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(file) = &smtp.ca_file {
        let wrong = |why: String| format!("the certificates in {} cannot be used: {why}", file.display());
        let pem = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|error| wrong(error.to_string()))?);
    }
    builder.build().map_err(|error| error.to_string())
}

/// Why a step failed.
struct Refusal {
    text: String,
    /// The server says that trying again is of no use.
    permanent: bool,
}

/// One step of the talk under its own limit: lettre's covers connecting only.
async fn step<T>(
    what: &'static str,
    limit: Duration,
    step: impl Future<Output = Result<T, smtp::Error>>,
) -> Result<T, (&'static str, Refusal)> {
    match tokio::time::timeout(limit, step).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err((what, Refusal { permanent: error.is_permanent(), text: chain(&error) })),
        Err(_) => {
            let text = format!("no answer within {}", crate::watch::time(limit));
            Err((what, Refusal { text, permanent: false }))
        }
    }
}

fn sender(settings: &Settings) -> Result<Mailbox, String> {
    if let Some(from) = &settings.smtp.from {
        return mailbox(from).map_err(|error| format!("[smtp] from: {error}"));
    }
    let host = settings.alerting.host();
    mailbox(&format!("retraind <retraind@{host}>")).map_err(|error| format!("{error}: set [smtp] from"))
}

/// An address as mail servers take it: its domain in ASCII.
fn mailbox(text: &str) -> Result<Mailbox, String> {
    let Mailbox { name, email } = text.parse().map_err(|error| format!("`{text}` is no address: {error}"))?;
    let domain =
        idna::domain_to_ascii(email.domain()).map_err(|_| format!("`{text}` is at no domain that there can be"))?;
    let email = Address::new(email.user(), domain).map_err(|error| format!("`{text}` is no address: {error}"))?;
    Ok(Mailbox::new(name, email))
}

/// The mail as it goes over the wire.
fn build(settings: &Settings, message: &Message) -> Result<Vec<u8>, String> {
    let mut mail = lettre::Message::builder()
        .from(sender(settings)?)
        .subject(message.subject())
        .date(SystemTime::from(message.written_at))
        .message_id(Some(message.message_id.clone()))
        // no answers by machines, and no loops: RFC 3834
        .raw_header(header("Auto-Submitted", "auto-generated"))
        .raw_header(header("X-Auto-Response-Suppress", "All"))
        .raw_header(header("List-Id", &format!("retraind alerts <alerts.retraind.{}>", list_host(&message.host))))
        .raw_header(header("X-Retraind-Severity", message.severity().as_str()));
    for to in &message.to {
        mail = mail.to(mailbox(to)?);
    }
    if let Some(id) = &message.in_reply_to {
        mail = mail.in_reply_to(id.clone()).references(message.references.join(" "));
    }
    // the same bytes whenever it is sent
    let id: String = message.message_id.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
    let boundary = |kind: &str| format!("{kind}-{id}");
    let mut related =
        MultiPart::related().boundary(boundary("related")).singlepart(SinglePart::html(html::page(message)));
    for (k, item) in message.items.iter().enumerate().filter(|(_, item)| html::has_picture(item)) {
        let title = item.condition.target.clone().unwrap_or_default();
        let picture = plot::losses(&title, &item.curve, item.condition.epoch)?;
        let name = format!("{}.png", if title.is_empty() { "losses" } else { &title });
        let png: ContentType = "image/png".parse().expect("a content type");
        related =
            related.singlepart(Attachment::new_inline_with_name(html::picture_id(message, k), name).body(picture, png));
    }
    let both = MultiPart::alternative()
        .boundary(boundary("alternative"))
        .singlepart(SinglePart::plain(message.text()))
        .multipart(related);
    Ok(mail.multipart(both).map_err(|error| format!("the mail could not be built: {error}"))?.formatted())
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

fn list_host(host: &str) -> String {
    host.chars().map(|c| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '-' }).collect()
}
