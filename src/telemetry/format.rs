//! The two texts in which metrics are exposed, and which of them a scraper is given.
//!
//! Prometheus asks for OpenMetrics. What asks for nothing in particular (curl, and `promtool check metrics` behind it)
//! gets Prometheus' own text format, as from every other exporter.

use std::collections::HashSet;

use actix_web::{
    HttpMessage,
    http::header::{Accept, Header},
};

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// [OpenMetrics 1.0](https://github.com/prometheus/OpenMetrics).
    OpenMetrics,
    /// [Prometheus' text format 0.0.4](https://prometheus.io/docs/instrumenting/exposition_formats/).
    Plain,
}

impl Format {
    /// What a scraper likes best of the two. One that takes neither is given the plain text: better than nothing.
    #[must_use]
    pub fn wanted_by(request: &impl HttpMessage) -> Self {
        let Ok(accept) = Accept::parse(request) else { return Self::Plain };
        let known = accept.ranked().into_iter().find_map(|kind| {
            match (kind.type_().as_str(), kind.subtype().as_str()) {
                ("application", "openmetrics-text") => Some(Self::OpenMetrics),
                ("text", "plain" | "*") | ("*", "*") => Some(Self::Plain),
                _ => None,
            }
        });
        known.unwrap_or(Self::Plain)
    }

    /// Its media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The same samples in the plain format: there a counter's family bears the name of its samples, and there are neither
/// units nor an end.
pub(super) fn plain(open: &str) -> String {
    let counters: HashSet<&str> =
        open.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut plain = String::with_capacity(open.len());
    for line in open.lines() {
        let described = line.strip_prefix("# ").and_then(|line| {
            let (word, rest) = line.split_once(' ')?;
            let (name, rest) = rest.split_once(' ')?;
            Some((word, name, rest))
        });
        match described {
            Some(("UNIT", ..)) => {}
            Some((word, name, rest)) if counters.contains(name) => {
                plain.push_str(&format!("# {word} {name}_total {rest}\n"));
            }
            None if line == "# EOF" => {}
            _ => {
                plain.push_str(line);
                plain.push('\n');
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_scraper_gets_the_format_that_it_likes_best() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, format) in [
            (None, Format::Plain),
            (Some("*/*"), Format::Plain),
            (Some("text/plain;version=0.0.4"), Format::Plain),
            (Some("text/*"), Format::Plain),
            (Some("application/json"), Format::Plain),
            (Some("no media type"), Format::Plain),
            (Some("application/openmetrics-text;version=1.0.0;q=0.2, text/plain;q=0.9"), Format::Plain),
            (Some("application/openmetrics-text"), Format::OpenMetrics),
            (Some(prometheus), Format::OpenMetrics),
        ] {
            let request = TestRequest::default();
            let request = match accept {
                Some(accept) => request.insert_header(("Accept", accept)),
                None => request,
            };
            assert_eq!(Format::wanted_by(&request.to_http_request()), format, "{accept:?}");
        }
    }

    #[test]
    fn the_plain_format_names_counters_as_their_samples_and_leaves_out_what_it_does_not_know() {
        let open = "# HELP turns Turns that ended.\n# TYPE turns counter\nturns_total{status=\"failed\"} 2\n\
                    # HELP wait_seconds Waits.\n# TYPE wait_seconds histogram\n# UNIT wait_seconds seconds\n\
                    wait_seconds_sum 0.5\n# EOF\n";
        let expected = "# HELP turns_total Turns that ended.\n# TYPE turns_total counter\nturns_total{status=\"failed\"} 2\n\
                        # HELP wait_seconds Waits.\n# TYPE wait_seconds histogram\nwait_seconds_sum 0.5\n";
        assert_eq!(plain(open), expected);
    }
}
