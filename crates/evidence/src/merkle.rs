//! A Merkle tree (RFC 6962, section 2.1), of which only the root is kept.

use sha2::{Digest, Sha256};

/// A hash in the tree.
pub type Hash = [u8; 32];

/// The tree over the leaves given so far. It keeps one hash for each bit of their number.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    leaves: usize,
    /// The roots of complete subtrees, largest first: one for each bit of the number of leaves.
    roots: Vec<Hash>,
}

impl Tree {
    /// Adds the next leaf.
    pub fn add(&mut self, leaf: &[u8]) {
        let mut hash: Hash = Sha256::new_with_prefix([0]).chain_update(leaf).finalize().into();
        // Each subtree of the same size is joined with the new one, as in binary addition.
        for _ in 0..self.leaves.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                hash = node(&left, &hash);
            }
        }
        self.roots.push(hash);
        self.leaves += 1;
    }

    /// How many leaves there are.
    #[must_use]
    pub const fn leaves(&self) -> usize {
        self.leaves
    }

    /// The root; that of no leaves is the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        let join = |right: Hash, left: &Hash| node(left, &right);
        let mut roots = self.roots.iter().rev();
        match roots.next() {
            Some(last) => roots.fold(*last, join),
            None => Sha256::digest([]).into(),
        }
    }
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new_with_prefix([1]).chain_update(left).chain_update(right).finalize().into()
}

#[cfg(test)]
mod tests {
    use config_audit::value::hex;
    use proptest::prelude::*;

    use super::*;

    fn root(leaves: &[Vec<u8>]) -> Hash {
        let mut tree = Tree::default();
        for leaf in leaves {
            tree.add(leaf);
        }
        assert_eq!(tree.leaves(), leaves.len());
        tree.root()
    }

    /// The leaves and the roots are those of the tests of Certificate Transparency's reference implementation
    /// (github.com/google/certificate-transparency, `merkle_tree_test.cc`).
    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let leaves: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let leaves: Vec<Vec<u8>> = leaves.into_iter().map(<[u8]>::to_vec).collect();
        for (count, expected) in [
            (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
            (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
            (4, "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
            (5, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
            (6, "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
            (7, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
            (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
        ] {
            assert_eq!(hex(&root(&leaves[..count])), expected, "{count} leaves");
        }
    }

    /// As the RFC defines it, which needs all leaves at once.
    fn defined(leaves: &[Vec<u8>]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [leaf] => Sha256::new_with_prefix([0]).chain_update(leaf).finalize().into(),
            leaves => {
                let split = leaves.len().next_power_of_two() / 2;
                node(&defined(&leaves[..split]), &defined(&leaves[split..]))
            }
        }
    }

    proptest! {
        #[test]
        fn the_root_is_the_one_that_the_rfc_defines(leaves in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3), 0..70)) {
            prop_assert_eq!(root(&leaves), defined(&leaves));
        }
    }
}
