//! AWS's partitions: groups of regions that share a domain and certificate authorities.

/// The domain of AWS's public partition.
pub const PUBLIC_DOMAIN: &str = "amazonaws.com";

/// The domains of the other partitions, by the prefix of their regions' names (the AWS SDKs' `partitions.json`).
const OTHER_DOMAINS: [(&str, &str); 6] = [
    ("cn-", "amazonaws.com.cn"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("eusc-", "amazonaws.eu"),
];

/// The domain of a region's endpoints. Any domain but [`PUBLIC_DOMAIN`] belongs to a partition with its own certificate
/// authorities.
#[must_use]
pub fn domain(region: &str) -> &'static str {
    OTHER_DOMAINS.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or(PUBLIC_DOMAIN, |(_, domain)| domain)
}

#[cfg(test)]
mod tests {
    use super::domain;

    #[test]
    fn a_region_has_the_domain_of_its_partition() {
        for (region, expected) in [
            ("eu-central-1", "amazonaws.com"),
            ("us-gov-west-1", "amazonaws.com"),
            ("", "amazonaws.com"),
            ("cn-north-1", "amazonaws.com.cn"),
            ("us-iso-east-1", "c2s.ic.gov"),
            ("us-isob-east-1", "sc2s.sgov.gov"),
            ("us-isof-south-1", "csp.hci.ic.gov"),
            ("eu-isoe-west-1", "cloud.adc-e.uk"),
            ("eusc-de-east-1", "amazonaws.eu"),
        ] {
            assert_eq!(domain(region), expected, "{region}");
        }
    }
}
