{{ config(post_hook="{{ forget_core_edges() }}") }}

{{ core_nodes(ref('int_interactions_selected'), k_core_of('users'), k_core_of('items')) }} -- noqa: PRS
