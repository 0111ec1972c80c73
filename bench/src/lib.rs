//! Load tool with open-loop pacing.
