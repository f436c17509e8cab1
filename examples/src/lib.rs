//! Examples: an embedded app, a native peer and a browser app
