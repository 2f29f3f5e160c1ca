# The image of the `train` service: kmnist and its dependencies, at the pinned versions.
# PYTHON_DIGEST, @sha256:…, pins the base image to one content.
ARG PYTHON_DIGEST=
FROM python:3.11-slim-bookworm${PYTHON_DIGEST}

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_CONSTRAINT=/src/constraints.txt \
    PYTHONUNBUFFERED=1 \
    # Any user may run it, usually without a home; Keras and Matplotlib store settings there.
    HOME=/tmp \
    MPLCONFIGDIR=/tmp

WORKDIR /src

# Dependencies first, so that a change of the code does not reinstall them. On x86-64, TensorFlow without
# CUDA is half as large, and gives the same weights.
COPY constraints.txt pyproject.toml ./
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*p['dependencies'], *p['optional-dependencies']['train'], sep='\n')" >/tmp/requirements.txt \
    && if [ "$(uname -m)" = x86_64 ]; then sed -i 's/^tensorflow>/tensorflow-cpu>/' /tmp/requirements.txt; fi \
    && pip install -r /tmp/requirements.txt \
    && rm /tmp/requirements.txt

COPY README.md LICENSE ./
COPY kmnist kmnist
RUN pip install --no-deps .

COPY serving/train /usr/local/bin

WORKDIR /
USER 1000:1000
ENTRYPOINT ["kmnist"]
CMD ["--help"]
