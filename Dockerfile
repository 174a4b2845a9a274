# A container that reconstructs photographs:
#   docker build -t ast-jax . && docker run --rm -v "$PWD:/work" ast-jax --image=photo.jpg
FROM python:3.12-slim
COPY . /source
RUN pip install --no-cache-dir "/source[photo]" && rm -r /source
WORKDIR /work
ENTRYPOINT ["ast-reconstruct"]
