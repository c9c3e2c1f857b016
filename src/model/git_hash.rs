//! Git's name of a blob, by which the hub knows the files that it keeps in git itself.

use sha1::{Digest, Sha1};

/// The SHA-1 that git gives bytes of a known number, digested piece by piece.
pub(super) struct GitHash(Sha1);

impl GitHash {
    pub(super) fn new(size: u64) -> GitHash {
        let mut hash = Sha1::new();
        hash.update(format!("blob {size}\0"));
        GitHash(hash)
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// In lower-case hexadecimal.
    pub(super) fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_has_the_name_that_git_gives_it() {
        // `printf 'hello\n' | git hash-object --stdin`
        let mut hash = GitHash::new(6);
        hash.update(b"hel");
        hash.update(b"lo\n");
        assert_eq!(hash.finish(), "ce013625030ba8dba906f756967f9e9ca394464a");
    }
}
