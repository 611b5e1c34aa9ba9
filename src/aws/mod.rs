//! What the function knows of AWS itself: the shape of its ARNs, its partitions, and the certificates of its endpoints.

pub mod arn;
pub mod partition;
pub mod tls;
