"""The form `policies`: pairs that a language model scores by its implicit reward."""

from w2s_ray.config.forms.pairs import Pairs


class Policies(Pairs):
    """What a task of `pairs` is trained in where `training.pair_model` is a policy; no task's own
    form.
    """

    name = "policies"
    columns = ()
    is_language = True
