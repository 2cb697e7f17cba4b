//! Links in what a proxied pod, Service or node answers. They lead to the root of its own server, which the client sees
//! below this one's path of the proxy, and are given that path as kube-apiserver does.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use crate::engine::body::{Body, BodyError};

/// What is kept at most of a tag whose end has not come; a longer one is passed on as it is.
const TAG_BYTES: usize = 16 << 10;

/// Elements whose content is text, HTML standard section 13.1.2.
const TEXT: [&str; 4] = ["script", "style", "textarea", "title"];

/// Attributes that hold a link, by element (HTML standard, "Attributes", and HTML 4.01, "Index of Attributes").
const LINKS: [(&str, &[&str]); 23] = [
    ("a", &["href"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// The answer with its links led through the proxy, which is at `prefix`; `peer` is the address of who answered.
pub(super) fn through(prefix: &str, peer: &str, response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let links = Links {
        prefix: prefix.to_owned(),
        peer: peer.to_owned(),
    };
    if let Some(location) = parts.headers.get_mut(header::LOCATION)
        && let Some(led) = location.to_str().ok().and_then(|it| links.lead(it))
        && let Ok(led) = HeaderValue::from_str(&led)
    {
        *location = led;
        return Response::from_parts(parts, body);
    }
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let is_html = kind.is_some_and(|it| it.split(';').next().unwrap_or("").trim() == "text/html");
    if !is_html || parts.headers.contains_key(header::CONTENT_ENCODING) {
        return Response::from_parts(parts, body);
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    let mut document = Document {
        links,
        held: Vec::new(),
        text_of: None,
    };
    let pieces = body.into_data_stream().map(Some).chain(stream::iter([None]));
    let led = pieces.map(move |piece| {
        let led = match piece {
            Some(piece) => document.push(&piece?, false),
            None => document.push(&[], true),
        };
        Ok::<_, BodyError>(Frame::data(Bytes::from(led)))
    });
    Response::from_parts(parts, Body::Stream(Box::pin(StreamBody::new(led))))
}

struct Links {
    prefix: String,
    peer: String,
}

impl Links {
    /// The link through the proxy, if it leads to the root of the peer's server.
    fn lead(&self, link: &str) -> Option<String> {
        let own = |scheme: &str| link.strip_prefix(scheme)?.strip_prefix(self.peer.as_str());
        let path = own("http://").or_else(|| own("https://")).unwrap_or(link);
        let leads_through = path
            .strip_prefix(self.prefix.as_str())
            .is_some_and(|it| it.starts_with('/'));
        let is_root = path.starts_with('/') && !path.starts_with("//");
        (is_root && !leads_through).then(|| format!("{}{path}", self.prefix))
    }
}

/// A document as it comes.
struct Document {
    links: Links,
    /// The beginning of a tag.
    held: Vec<u8>,
    /// The element whose text goes on.
    text_of: Option<&'static str>,
}

impl Document {
    /// Takes the next piece, and gives what is done; all that is left with the last one.
    fn push(&mut self, piece: &[u8], last: bool) -> Vec<u8> {
        let mut data = std::mem::take(&mut self.held);
        data.extend_from_slice(piece);
        let (mut rest, mut done) = (data.as_slice(), Vec::with_capacity(data.len()));
        while let Some(at) = rest.iter().position(|byte| *byte == b'<') {
            done.extend_from_slice(&rest[..at]);
            rest = &rest[at..];
            let Some(end) = tag_end(rest, self.text_of.is_some()) else {
                if !last && rest.len() < TAG_BYTES {
                    self.held = rest.to_vec();
                    return done;
                }
                break;
            };
            self.tag(&rest[..end], &mut done);
            rest = &rest[end..];
        }
        done.extend_from_slice(rest);
        done
    }

    fn tag(&mut self, tag: &[u8], done: &mut Vec<u8>) {
        let closes = tag.get(1) == Some(&b'/');
        let name = word(&tag[1 + usize::from(closes)..]);
        match self.text_of {
            Some(element) if closes && name == element => self.text_of = None,
            None if !closes => {
                self.text_of = TEXT.into_iter().find(|it| *it == name);
                if let Some((_, attributes)) = LINKS.iter().find(|(element, _)| *element == name) {
                    return self.attributes(tag, 1 + name.len(), attributes, done);
                }
            }
            _ => {}
        }
        done.extend_from_slice(tag);
    }

    fn attributes(&self, tag: &[u8], mut at: usize, links: &[&str], done: &mut Vec<u8>) {
        let mut written = 0;
        while at < tag.len() {
            let name = word(&tag[at..]);
            if name.is_empty() {
                at += 1;
                continue;
            }
            at += name.len();
            let after = at + space(&tag[at..]);
            if tag.get(after) != Some(&b'=') {
                continue;
            }
            at = after + 1;
            at += space(&tag[at..]);
            let quote = tag.get(at).copied().filter(|byte| matches!(byte, b'"' | b'\''));
            let start = at + usize::from(quote.is_some());
            let ends = |byte: &u8| match quote {
                Some(quote) => *byte == quote,
                None => byte.is_ascii_whitespace() || *byte == b'>',
            };
            at = tag[start..].iter().position(ends).map_or(tag.len(), |it| start + it);
            let value = std::str::from_utf8(&tag[start..at]).unwrap_or("");
            if links.contains(&name.as_str())
                && let Some(led) = self.links.lead(value)
            {
                done.extend_from_slice(&tag[written..start]);
                done.extend_from_slice(led.as_bytes());
                written = at;
            }
            at += usize::from(quote.is_some());
        }
        done.extend_from_slice(&tag[written..]);
    }
}

/// Where a tag or comment ends that begins here, of which text has only tags that close; `None` if that is not there yet.
/// What is neither is a tag of one byte.
fn tag_end(data: &[u8], in_text: bool) -> Option<usize> {
    const COMMENT: &[u8] = b"<!--";
    if data.len() < COMMENT.len() && COMMENT.starts_with(data) {
        return None;
    }
    if in_text && data[1] != b'/' {
        return Some(1);
    }
    if data.starts_with(COMMENT) {
        let end = data[2..].windows(3).position(|it| it == b"-->")?;
        return Some(end + 5);
    }
    if !data[1].is_ascii_alphabetic() && data[1] != b'/' {
        return Some(1);
    }
    let mut quote = None;
    for (at, byte) in data.iter().enumerate() {
        match (quote, byte) {
            (Some(open), byte) if open == byte => quote = None,
            (None, b'"' | b'\'') if data[..at].trim_ascii_end().ends_with(b"=") => quote = Some(byte),
            (None, b'>') => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The name of an element or attribute, in lower case.
fn word(data: &[u8]) -> String {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>' | b'=' | b'"' | b'\'');
    let end = data.iter().position(ends).unwrap_or(data.len());
    String::from_utf8_lossy(&data[..end]).to_ascii_lowercase()
}

fn space(data: &[u8]) -> usize {
    data.len() - data.trim_ascii_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_led_through_however_a_document_comes() {
        let page = "<!DOCTYPE html><!-- <a href=\"/no\"> --><a class=x href=\"/a?b=1\">1 < 2</a><A HREF='/b'/>\
            <img alt=\"<a href='/no'>\" src = /c><p href=\"/no\"><a href=\"d\"><a href=\"//host/e\">\
            <a href=\"http://10.0.0.1:80/f\"><a href=\"https://other/g\"><a href=\"/p/proxy/h\">\
            <script src=\"/i\">if (a<b && c<d=\"x\") '<a href=\"/no\">'</script><a disabled href=\"/\"><a href=\"/open";
        let led = "<!DOCTYPE html><!-- <a href=\"/no\"> --><a class=x href=\"/p/proxy/a?b=1\">1 < 2</a><A HREF='/p/proxy/b'/>\
            <img alt=\"<a href='/no'>\" src = /p/proxy/c><p href=\"/no\"><a href=\"d\"><a href=\"//host/e\">\
            <a href=\"/p/proxy/f\"><a href=\"https://other/g\"><a href=\"/p/proxy/h\">\
            <script src=\"/p/proxy/i\">if (a<b && c<d=\"x\") '<a href=\"/no\">'</script><a disabled href=\"/p/proxy/\"><a href=\"/open";
        for size in [1, 2, 3, 7, 64, page.len()] {
            let mut document = Document {
                links: Links {
                    prefix: "/p/proxy".into(),
                    peer: "10.0.0.1:80".into(),
                },
                held: Vec::new(),
                text_of: None,
            };
            let mut done = Vec::new();
            for piece in page.as_bytes().chunks(size) {
                done.extend(document.push(piece, false));
            }
            done.extend(document.push(&[], true));
            assert_eq!(String::from_utf8(done).unwrap(), led, "in pieces of {size}");
        }
    }

    #[test]
    fn a_tag_without_an_end_is_passed_on() {
        let mut document = Document {
            links: Links {
                prefix: String::new(),
                peer: String::new(),
            },
            held: Vec::new(),
            text_of: None,
        };
        let long = [b"<a href=".as_slice(), &vec![b'x'; TAG_BYTES]].concat();
        assert_eq!(document.push(&long, false), long);
    }
}
