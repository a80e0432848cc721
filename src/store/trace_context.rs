//! Which span of which trace something belongs to, as that travels between processes: the two ids of
//! W3C Trace Context, as plain bytes. How they come about is not known here.

/// A span that was sampled, seen from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace: [u8; 16],
    span: [u8; 8],
}

impl TraceContext {
    /// Bytes of both ids.
    pub const BYTES: usize = 24;

    /// The span `span` of the trace `trace`; `None` when an id is all zeroes, which is no id
    /// (W3C Trace Context, section 3.2.2).
    pub fn new(trace: [u8; 16], span: [u8; 8]) -> Option<Self> {
        (trace != [0; 16] && span != [0; 8]).then_some(Self { trace, span })
    }

    /// The inverse of [`TraceContext::to_bytes`].
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let (trace, span) = bytes.split_at(16);
        let trace = trace.try_into().expect("it was split after 16 bytes");
        Self::new(trace, span.try_into().expect("8 bytes are left of 24"))
    }

    /// The trace's id, then the span's.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.trace);
        bytes[16..].copy_from_slice(&self.span);
        bytes
    }

    /// The trace's id.
    pub fn trace(&self) -> [u8; 16] {
        self.trace
    }

    /// The span's id.
    pub fn span(&self) -> [u8; 8] {
        self.span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_come_back_and_zeroes_are_no_id() {
        let context = TraceContext::new([1; 16], [2; 8]).expect("both are ids");
        assert_eq!(TraceContext::from_bytes(&context.to_bytes()), Some(context));
        assert_eq!(TraceContext::new([0; 16], [2; 8]), None);
        assert_eq!(TraceContext::new([1; 16], [0; 8]), None);
        assert_eq!(TraceContext::from_bytes(&[0; 24]), None);
    }
}
