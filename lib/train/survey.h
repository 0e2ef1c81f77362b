/* SPDX-License-Identifier: MIT
 *
 * Goes through a run's batches without computing anything: how large they are tells what memory the run takes, to the
 * byte. Some 100 ns a row and epoch.
 */
#ifndef FT_TRAIN_SURVEY_H
#define FT_TRAIN_SURVEY_H

#include "ft/trainer.h"

/* The limits of the session that serves all steps and evaluations of the run. */
enum ft_status ft_survey(const struct ft_trainer_spec *spec, struct ft_session_limits *limits, struct ft_error *error);

#endif
