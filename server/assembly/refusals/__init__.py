"""What does not go with what: every combination that a run is refused for, by name, in one place.

A refusal looks at a run and returns why it cannot be, or None. They are asked in the order of these lists,
and the first answer is what the user reads. What a single plug-in, data set or machine refuses by itself (an
option out of range, a file that is missing, CUDA that is not there) is its own error and stands there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from ....core.errors import ScenarioError
from .algorithms import (
    a_beginning_that_clients_do_not_know,
    a_codec_that_breaks_a_bound,
    a_gradient_that_nobody_protects,
    a_loss_of_other_algorithms,
    a_mean_that_is_not_plain,
    a_mechanism_of_other_algorithms,
    a_message_that_nobody_reads,
    a_second_sampler_or_optimizer,
    an_algorithm_of_other_mechanisms,
    an_optimizer_that_nobody_runs,
    batch_statistics_that_nobody_remembers,
    batch_statistics_that_nobody_trains,
    canaries_in_a_part_of_a_message,
    canaries_that_state_nothing,
    canaries_without_examples,
    clients_that_a_mean_weighs,
    clients_that_an_algorithm_misses,
    facts_behind_a_sum,
    features_that_a_model_has_not,
    messages_beside_parameters,
)
from .budgets import (
    Prospect,
    a_budget_below_one_round,
    a_budget_that_cannot_hold,
    a_changed_label_that_is_none,
    a_large_delta,
    a_wanted_label_that_is_none,
)
from .client_defenses import (
    a_defense_of_clients_that_work_in_their_own_way,
    a_look_at_examples_behind_their_privacy,
    a_model_that_a_client_defense_cannot_work_on,
    gradients_that_go_out_beside_a_defended_update,
)
from .codecs import (
    a_downlink_that_an_algorithm_does_not_expect,
    a_downlink_that_remembers,
    a_log_that_gives_other_parameters,
    a_mean_that_a_codec_does_not_keep,
    a_mechanism_that_a_kept_mean_does_not_pass,
    batch_statistics_that_no_log_holds,
    rounds_that_a_codec_does_not_mix,
)
from .combined import (
    a_codec_that_a_combination_magnifies,
    a_mean_that_a_combination_does_not_take,
    a_server_without_replicas,
    a_step_before_messages_are_combined,
    replicas_that_no_mechanism_counts,
)
from .defenses import (
    a_certificate_behind_other_rules,
    a_client_that_a_defense_misses,
    a_defense_without_its_root,
    a_memory_of_clients_behind_groups,
    a_plant_that_an_algorithm_does_not_expect,
    a_plant_where_canaries_are_looked_for,
    cohorts_that_are_all_too_small,
)
from .kept import (
    a_client_defense_of_whole_updates,
    a_part_that_is_kept_besides,
    a_rule_that_runs_models,
    stacking_of_models_that_differ,
)
from .levels import (
    a_codec_that_minds_the_size,
    a_plant_that_small_models_lack,
    a_rule_that_counts_the_absent,
    a_sum_of_several_sizes,
    an_attack_on_rows_of_several_sizes,
    canaries_of_no_size,
    levels_without_an_assignment,
)
from .links import a_link_beside_a_deadline_that_is_not_known
from .privacy import (
    a_budget_that_the_sampling_cannot_keep,
    a_codec_whose_payloads_do_not_add_up,
    a_defense_that_sees_only_sums,
    a_pre_aggregation_that_sees_only_sums,
    an_audit_by_clients_of_examples,
    batch_statistics_that_leave_unclipped,
    canaries_that_nobody_clips,
    given_data_that_should_be_noised,
    system_noise_on_released_data,
)
from .roles import (
    a_share_of_nobody,
    an_attack_that_sees_no_model,
    an_attack_that_steers_what_has_no_steps,
    an_attacker_that_is_no_client,
    an_attacker_with_two_roles,
    an_update_that_follows_no_data,
    more_attackers_than_clients,
    shares_above_a_cohort,
)
from .schedules import (
    a_memory_of_fresh_messages,
    a_schedule_that_weighs_examples,
    a_server_half_that_takes_fresh_messages,
    a_sum_of_other_rounds,
    a_way_from_now_that_messages_do_not_have,
    canaries_that_change_who_comes,
    more_messages_than_clients,
)
from .servers import a_server_that_an_algorithm_does_not_expect
from .training import (
    a_cohort_above_the_population,
    attacks_on_inputs_that_are_tokens,
    attacks_on_labels_that_are_no_classes,
    compiling_of_private_steps,
    given_data_without_a_root,
    samples_of_what_has_no_probability,
    stacking_of_an_algorithm_of_its_own_way,
)

if TYPE_CHECKING:
    from ..fitted import Fitted
    from ..parts import Parts

A = TypeVar("A")
Refusal = Callable[[A], ScenarioError | None]

OF_ROLES: tuple[Refusal[Parts], ...] = (
    a_share_of_nobody,
    an_attacker_that_is_no_client,
    an_attacker_with_two_roles,
    more_attackers_than_clients,
    shares_above_a_cohort,
    an_update_that_follows_no_data,
)
"""Roles that cannot be handed out."""

OF_PARTS: tuple[Refusal[Parts], ...] = (
    system_noise_on_released_data,
    given_data_that_should_be_noised,
    an_audit_by_clients_of_examples,
    a_cohort_above_the_population,
    stacking_of_an_algorithm_of_its_own_way,
    compiling_of_private_steps,
    *OF_ROLES,
    a_mechanism_of_other_algorithms,
    a_beginning_that_clients_do_not_know,
    a_second_sampler_or_optimizer,
    an_algorithm_of_other_mechanisms,
    an_optimizer_that_nobody_runs,
    clients_that_an_algorithm_misses,
    a_step_before_messages_are_combined,
    a_codec_that_a_combination_magnifies,
    a_server_without_replicas,
    replicas_that_no_mechanism_counts,
    a_mean_that_a_combination_does_not_take,
    canaries_without_examples,
    a_mean_that_is_not_plain,
    a_codec_that_breaks_a_bound,
    clients_that_a_mean_weighs,
    a_gradient_that_nobody_protects,
    a_defense_of_clients_that_work_in_their_own_way,
    gradients_that_go_out_beside_a_defended_update,
    a_look_at_examples_behind_their_privacy,
    facts_behind_a_sum,
    canaries_that_state_nothing,
    a_downlink_that_remembers,
    a_downlink_that_an_algorithm_does_not_expect,
    a_log_that_gives_other_parameters,
    a_mean_that_a_codec_does_not_keep,
    a_mechanism_that_a_kept_mean_does_not_pass,
    rounds_that_a_codec_does_not_mix,
    a_server_that_an_algorithm_does_not_expect,
    a_defense_without_its_root,
    a_plant_that_an_algorithm_does_not_expect,
    a_plant_where_canaries_are_looked_for,
    a_certificate_behind_other_rules,
    a_defense_that_sees_only_sums,
    a_pre_aggregation_that_sees_only_sums,
    a_codec_whose_payloads_do_not_add_up,
    a_memory_of_clients_behind_groups,
    a_client_that_a_defense_misses,
    cohorts_that_are_all_too_small,
    levels_without_an_assignment,
    a_plant_that_small_models_lack,
    a_rule_that_counts_the_absent,
    an_attack_on_rows_of_several_sizes,
    a_codec_that_minds_the_size,
    a_sum_of_several_sizes,
    canaries_of_no_size,
    a_part_that_is_kept_besides,
    stacking_of_models_that_differ,
    a_client_defense_of_whole_updates,
    a_rule_that_runs_models,
    an_attack_that_sees_no_model,
    an_attack_that_steers_what_has_no_steps,
    more_messages_than_clients,
    a_sum_of_other_rounds,
    canaries_that_change_who_comes,
    a_schedule_that_weighs_examples,
    a_server_half_that_takes_fresh_messages,
    a_memory_of_fresh_messages,
    a_way_from_now_that_messages_do_not_have,
    a_link_beside_a_deadline_that_is_not_known,
)
"""Plug-ins that do not go together: asked before any data are loaded."""

OF_FIT: tuple[Refusal[Fitted], ...] = (
    a_loss_of_other_algorithms,
    a_message_that_nobody_reads,
    messages_beside_parameters,
    canaries_in_a_part_of_a_message,
    a_budget_that_the_sampling_cannot_keep,
    batch_statistics_that_nobody_trains,
    batch_statistics_that_nobody_remembers,
    features_that_a_model_has_not,
    a_model_that_a_client_defense_cannot_work_on,
    batch_statistics_that_leave_unclipped,
    batch_statistics_that_no_log_holds,
    canaries_that_nobody_clips,
    given_data_without_a_root,
    samples_of_what_has_no_probability,
    attacks_on_labels_that_are_no_classes,
    attacks_on_inputs_that_are_tokens,
)
"""Plug-ins that do not go with the data or the model."""

OF_GOALS: tuple[Refusal[Fitted], ...] = (a_changed_label_that_is_none,)
"""Asked before the attacks are shown the test set."""

OF_PROSPECT: tuple[Refusal[Prospect], ...] = (
    a_large_delta,
    a_budget_that_cannot_hold,
    a_budget_below_one_round,
    a_wanted_label_that_is_none,
)
"""Runs that would not keep what was asked for."""

REFUSALS = (*OF_PARTS, *OF_FIT, *OF_GOALS, *OF_PROSPECT)
"""All of them."""


def refuse(refusals: Sequence[Refusal[A]], run: A) -> None:
    """Raise the first refusal that holds of a run.

    Raises:
        ScenarioError: What cannot be, in one line.
    """
    for refusal in refusals:
        if why := refusal(run):
            raise why
