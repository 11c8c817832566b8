//! Pipelines, releases and promotions carried out.
