//! Client of the render worker.
