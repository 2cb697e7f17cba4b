//! Turns Services and pods into EndpointSlices and Endpoints, as soon as a pod becomes ready or begins to leave.
//!
//! Input: changes of Services, pods, and of the objects kept here. Each controller has its own queue; a burst of pod
//! changes becomes one reconcile per Service without any fixed delay.

mod backends;
mod endpoints_controller;
mod from_pods;
mod mirror_controller;
mod slice_controller;
mod slices;
mod subsets;

pub(crate) use endpoints_controller::EndpointsController;
pub(crate) use mirror_controller::Mirror;
pub(crate) use slice_controller::EndpointSlices;
