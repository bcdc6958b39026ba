//! A message as a page: one column that reads on a phone, tables and styles within the elements, since mail readers
//! drop style sheets.

use super::message::{Item, Message};
use super::{Rule, Severity, plot};
use crate::store::Notice;
use std::fmt::Write as _;

const FONT: &str = "font-family:-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif";
const CODE: &str = "font-family:ui-monospace,Menlo,Consolas,monospace;font-size:13px";

/// The page.
pub(super) fn page(message: &Message) -> String {
    let mut body = String::new();
    for (k, item) in message.items.iter().enumerate() {
        write!(body, "{}", card(message, k, item)).expect("text");
    }
    let footer = escape(message.footer().trim()).replace('\n', "<br>");
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{title}</title></head>\n\
         <body style=\"margin:0;padding:0;background:#f3f4f6\">\n\
         <table role=\"presentation\" width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" style=\"background:#f3f4f6\"><tr>\
         <td align=\"center\" style=\"padding:16px 8px\">\n\
         <table role=\"presentation\" width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" \
         style=\"max-width:660px;{FONT};font-size:15px;line-height:1.5;color:#1f2937;text-align:left\">\n{body}\
         <tr><td style=\"padding:4px 12px 16px;font-size:12px;color:#6b7280\">{footer}</td></tr>\n\
         </table></td></tr></table></body></html>\n",
        title = escape(&message.subject()),
    )
}

/// Whether a picture of the losses says something about it.
pub(super) fn has_picture(item: &Item) -> bool {
    let of_training = item.condition.rule.ends_with_its_run()
        || matches!(item.condition.rule, Rule::GateFailed | Rule::Promotion | Rule::NoBetterThanNaive);
    of_training && !item.curve.is_empty()
}

/// What the page calls the picture of item `k`.
pub(super) fn picture_id(message: &Message, k: usize) -> String {
    format!("curve-{k}.{}", message.message_id.trim_matches(['<', '>']))
}

fn card(message: &Message, k: usize, item: &Item) -> String {
    let c = &item.condition;
    let (colour, word) = match (item.over.is_some(), c.severity) {
        (true, _) => ("#15803d", if item.notice == Notice::Recovery { "over" } else { "was, and is over" }),
        (false, Severity::Critical) => ("#b91c1c", "critical"),
        (false, Severity::Warning) => ("#b45309", "warning"),
        (false, Severity::Info) => ("#1d4ed8", "info"),
    };
    let word = if item.notice == Notice::Reminder { format!("{word}, still") } else { word.to_owned() };
    let mut card = format!(
        "<tr><td style=\"padding:0 0 16px\"><table role=\"presentation\" width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" \
         style=\"background:#ffffff;border-top:4px solid {colour}\"><tr><td style=\"padding:16px 20px 20px\">\
         <div style=\"font-size:12px;color:{colour};font-weight:600;text-transform:uppercase;letter-spacing:.04em\">{word}</div>\
         <div style=\"font-size:18px;line-height:1.35;font-weight:600;margin:2px 0 12px\">{}</div>",
        escape(&item.matter()),
    );
    card.push_str("<table role=\"presentation\" cellpadding=\"0\" cellspacing=\"0\" style=\"font-size:14px\">");
    for (name, value) in item.facts() {
        write!(
            card,
            "<tr><td valign=\"top\" style=\"padding:1px 14px 1px 0;color:#6b7280\">{name}</td>\
             <td style=\"padding:1px 0;word-break:break-word\">{}</td></tr>",
            escape(&value)
        )
        .expect("text");
    }
    card.push_str("</table>");
    if has_picture(item) {
        let width = plot::WIDTH / 2;
        write!(
            card,
            "<img src=\"cid:{}\" width=\"{width}\" alt=\"Training and validation loss by epoch\" \
             style=\"display:block;width:100%;max-width:{width}px;height:auto;margin:14px 0 0\">",
            picture_id(message, k)
        )
        .expect("text");
    }
    let lines: Vec<String> = item.details().map(|detail| escape(detail)).collect();
    if !lines.is_empty() {
        write!(
            card,
            "<div style=\"{CODE};background:#f9fafb;padding:8px 12px;margin:14px 0 0;white-space:pre-wrap;\
             word-break:break-word\">{}</div>",
            lines.join("\n")
        )
        .expect("text");
    }
    if let Some(done) = item.done() {
        card.push_str(&paragraph("What retraind did", &escape(done)));
    }
    if let Some((advice, commands)) = item.advice() {
        let advice: Vec<String> = advice.iter().map(|advice| escape(advice)).collect();
        let commands: Vec<String> = commands.iter().map(|command| escape(command)).collect();
        write!(
            card,
            "{}<div style=\"{CODE};background:#111827;color:#f9fafb;padding:10px 12px;margin:8px 0 0;\
             white-space:pre-wrap;word-break:break-word\">{}</div>",
            paragraph("What you can do", &advice.join("<br>")),
            commands.join("\n")
        )
        .expect("text");
    }
    card.push_str("</td></tr></table></td></tr>\n");
    card
}

fn paragraph(title: &str, text: &str) -> String {
    format!(
        "<div style=\"margin:14px 0 0\"><span style=\"font-size:13px;color:#6b7280\">{title}</span><br>{text}</div>"
    )
}

/// Text as it may stand between tags and in attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_errors_cannot_become_a_tag() {
        assert_eq!(escape("<b class=\"x\">R&D's"), "&lt;b class=&quot;x&quot;&gt;R&amp;D&#39;s");
    }
}
