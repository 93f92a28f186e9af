"""An experiment file with many keys, which tests change in one place."""

EXAMPLE = """
name: digits
data:    {name: digits, label_noise: 0.1, seed: 0}
recipe:  {model: mlp, epochs: 60, lr: 0.1, batch_size: 64, schedule: cosine, augment: false,
          precision: float32, threads: 1}
score:   {name: memorization, models: 128, fraction: 0.7, seed: 0,
          recipe: {model: mlp, epochs: 60, lr: 0.1, batch_size: 64}}
forget:  {size: 120, pick: spread}
refine:  {name: by_score, into: [low, medium, high]}
retain:  remaining
plan:
  low:    nothing
  medium: {name: finetune, lr: 0.05, epochs: 5}
  high:   {name: salun, lr: 0.05, epochs: 5, keep: 0.5}
compare: [finetune, l1_sparse, neggrad+, salun]
search:  {trials: 32, unlearners: [nothing, finetune, neggrad+, salun], reference: oracle,
          attack: auc, max_cost: 0.5, seed: 0, batch: 4}
evaluate: {attack: svm}
seeds:   [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
cluster: {workers: 2, gpus_per_worker: 0, max_failures: -1}
"""
