//! The known break: a matcher that matches more than it says.
