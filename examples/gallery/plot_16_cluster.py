"""
Many files, on a cluster
========================

`transform_in_chunks` gives chunks of a long list to the workers of a Dask cluster, stores what is
done, and goes on after an interruption. Here the cluster is two threads of this machine; with the
address of a scheduler, it is many machines.
"""

import tempfile

import joblib
import matplotlib.pyplot as plt
from distributed import Client, LocalCluster
from sklearn.decomposition import PCA

from persona_affect import load_model
from persona_affect.datasets import make_affect_faces
from persona_affect.distributed import transform_in_chunks

# Photos of rendered persons, and all steps of the bundled model but the last: photo to features.
faces = make_affect_faces(24, halves="emotion", random_state=0)
steps = load_model()[:-1]

# %%
with (
    LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster,
    Client(cluster),
    joblib.parallel_config("dask"),
):
    features = transform_in_chunks(steps, faces.data, tempfile.mkdtemp(), chunk_size=6)
features.shape

# %%
# Faces that the networks find similar are near each other.
points = PCA(2).fit_transform(features)
figure, ax = plt.subplots()
shown = ax.scatter(*points.T, c=faces.target["valence"])
ax.set(xlabel="component 1", ylabel="component 2", title="Features of 24 photos, by two workers")
figure.colorbar(shown, label="valence that the face shows")
plt.show()
